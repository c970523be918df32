//! What an index has of the rows of a table: the words in texts, and of `events` whole values of
//! some columns. What a word is, is [`whodid_event::words`]'s to say.

use std::borrow::Cow;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, RecordBatch, StringArray, StringViewArray,
};
use arrow::datatypes::DataType;
use whodid_event::words;

use crate::columns::typed;
use crate::error::Result;
use crate::snapshot::Table;

/// The columns of `events` that hold what a person wrote or would read: a search for words looks
/// into these, of lists into the elements and of maps into the values.
pub const TEXT_COLUMNS: [&str; 27] = [
    "request_uri",
    "verb",
    "username",
    "user_uid",
    "user_groups",
    "user_extra",
    "impersonated_username",
    "impersonated_uid",
    "impersonated_groups",
    "impersonated_extra",
    "source_ips",
    "user_agent",
    "resource",
    "namespace",
    "name",
    "object_uid",
    "api_group",
    "subresource",
    "object",
    "message",
    "reason",
    "status_details",
    "decision_reason",
    "annotations",
    "exec_command",
    "audit_id_text",
    "raw",
];

/// The columns of `events` whose values can be looked up as they are; of the others in
/// [`TEXT_COLUMNS`] their words can.
pub const VALUE_COLUMNS: [&str; 16] = [
    "audit_id",
    "username",
    "impersonated_username",
    "actor",
    "actor_kind",
    "verb",
    "action",
    "resource",
    "subresource",
    "namespace",
    "name",
    "gvr",
    "code",
    "reason",
    "outcome",
    "tool",
];

/// What an index is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u64);

impl Key {
    /// A word, in lower case.
    pub fn word(word: &str) -> Self {
        Key(twox_hash::XxHash64::oneshot(0, word.as_bytes()))
    }

    /// A text or bytes in one of [`VALUE_COLUMNS`].
    pub fn value(column: &str, value: &[u8]) -> Self {
        Self::word(column).of(value)
    }

    /// A value in the column that this is the name of.
    fn of(self, value: &[u8]) -> Self {
        Key(twox_hash::XxHash64::oneshot(self.0, value))
    }

    /// A number in one of [`VALUE_COLUMNS`].
    pub fn number(column: &str, value: i64) -> Self {
        Self::value(column, &value.to_le_bytes())
    }

    /// One filter in 256 has a key by chance. Words of bodies and audit IDs are often asked for
    /// alone, and reading what does not have them takes long: these have a second key, of which
    /// the first says nothing.
    pub fn twice(self) -> [Self; 2] {
        [self, Key(self.0.rotate_left(32))]
    }

    /// By what filters know it.
    pub(super) fn hash(self) -> u64 {
        self.0
    }
}

/// Calls `take` with each key of some rows, with some more than once.
pub(super) fn each(table: Table, rows: &RecordBatch, mut take: impl FnMut(Key)) -> Result<()> {
    match table {
        Table::Bodies => {
            let mut before = Cow::Borrowed("");
            for body in typed::<StringViewArray>(rows, "json")?.iter().flatten() {
                let body = words::unescaped(body);
                words::each(between_ends_of(&before, &body), |word| {
                    Key::word(word).twice().into_iter().for_each(&mut take);
                });
                before = body;
            }
        }
        Table::Events => {
            let mut newest = Newest::default();
            for column in TEXT_COLUMNS {
                let Some(column) = rows.column_by_name(column) else { continue };
                texts(column, &mut |text| {
                    if newest.is_new(text) {
                        words::each(text, |word| take(Key::word(word)));
                    }
                });
            }
            for name in VALUE_COLUMNS {
                let Some(column) = rows.column_by_name(name) else { continue };
                values(Key::word(name), column, &mut take);
            }
        }
    }
    Ok(())
}

/// What of a text in JSON may have words that another does not have: bodies of one object stand
/// behind one another, and most of them begin and end alike. No word has a quotation mark, and
/// words on one side of it do not depend on the other.
fn between_ends_of<'t>(other: &'t str, text: &'t str) -> &'t str {
    const PART: usize = 32;
    let is_quote = |byte: &u8| *byte == b'"';
    let (here, there) = (text.as_bytes(), other.as_bytes());
    let (parts, others) = (here.as_chunks::<PART>().0, there.as_chunks::<PART>().0);
    let alike = parts.iter().zip(others).take_while(|(part, other)| part == other).count() * PART;
    let begin = here.iter().take(alike).rposition(is_quote).unwrap_or(0);
    let rest = |bytes: &'t [u8]| bytes.get(begin..).unwrap_or_default().as_rchunks::<PART>().1;
    let (parts, others) = (rest(here).iter().rev(), rest(there).iter().rev());
    let alike = parts.zip(others).take_while(|(part, other)| part == other).count() * PART;
    let end = here.len() - alike;
    let quote = here.iter().skip(end).position(is_quote);
    let end = quote.map_or(here.len(), |quote| end + quote + 1);
    text.get(begin..end).unwrap_or(text)
}

/// The texts that came a moment ago, one in each place: most of a column are those of rows before.
struct Newest(Vec<String>);

impl Default for Newest {
    fn default() -> Self {
        Newest(vec![String::new(); 1 << 10])
    }
}

impl Newest {
    /// Whether a text is not there yet; from now on it is.
    fn is_new(&mut self, text: &str) -> bool {
        let places = self.0.len() as u64;
        let place = usize::try_from(Key::word(text).0 % places).unwrap_or_default();
        match self.0.get_mut(place) {
            Some(newest) if newest == text => false,
            Some(newest) => {
                text.clone_into(newest);
                true
            }
            None => true,
        }
    }
}

/// Calls `look` with each text in a column.
fn texts(column: &ArrayRef, look: &mut dyn FnMut(&str)) {
    if let Some(texts) = column.as_any().downcast_ref::<StringViewArray>() {
        texts.iter().flatten().for_each(look);
    } else if let Some(texts) = column.as_any().downcast_ref::<StringArray>() {
        texts.iter().flatten().for_each(look);
    } else if let Some(bytes) = column.as_any().downcast_ref::<BinaryArray>() {
        bytes.iter().flatten().for_each(|bytes| look(&String::from_utf8_lossy(bytes)));
    } else if let DataType::List(_) = column.data_type() {
        let lists = column.as_list::<i32>();
        texts(&span(lists.value_offsets(), lists.values()), look);
    } else if let DataType::Map(..) = column.data_type() {
        let maps = column.as_map();
        texts(&span(maps.value_offsets(), maps.values()), look);
    }
}

/// The elements of some lists, which stand behind one another.
fn span(offsets: &[i32], elements: &ArrayRef) -> ArrayRef {
    let at = |offset: Option<&i32>| {
        offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or_default()
    };
    let (from, to) = (at(offsets.first()), at(offsets.last()));
    elements.slice(from, to.saturating_sub(from))
}

/// Calls `take` with the keys of each value in the column of this name; bytes are audit IDs.
fn values(name: Key, column: &ArrayRef, take: &mut impl FnMut(Key)) {
    if let Some(texts) = column.as_any().downcast_ref::<StringViewArray>() {
        texts.iter().flatten().for_each(|text| take(name.of(text.as_bytes())));
    } else if let Some(bytes) = column.as_any().downcast_ref::<BinaryArray>() {
        bytes.iter().flatten().flat_map(|bytes| name.of(bytes).twice()).for_each(take);
    } else if let Some(numbers) = column.as_any().downcast_ref::<Int32Array>() {
        let numbers = numbers.iter().flatten().map(i64::from);
        numbers.for_each(|number| take(name.of(&number.to_le_bytes())));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> BTreeSet<String> {
        let mut words = BTreeSet::new();
        words::each(text, |word| {
            words.insert(word.to_owned());
        });
        words
    }

    proptest! {
        /// No word is lost, wherever two texts begin to differ: in a word, in a UUID, in a letter
        /// of two bytes.
        #[test]
        fn words_that_are_left_out_are_those_of_the_other(
            begin in "([a-fö0-9]{0,9}[\":-]{0,2}){0,12}",
            middle in prop::collection::vec("[a-fö0-9\":-]{0,40}", 2),
            uuid in prop::option::of(Just("6ba7b810-9dad-11d1-80b4-00c04fd430c8")),
            end in "([a-fö0-9]{0,9}[\":-]{0,2}){0,12}",
        ) {
            let text = |middle: &String| [&*begin, middle, uuid.unwrap_or_default(), &end].concat();
            let (other, text) = (text(&middle[0]), text(&middle[1]));
            let left = words(between_ends_of(&other, &text));
            prop_assert!(left.is_subset(&words(&text)));
            prop_assert!(words(&text).is_subset(&left.union(&words(&other)).cloned().collect()));
        }
    }

    #[test]
    fn what_is_alike_is_left_out() {
        let body = |version: &str| {
            let metadata = r#"{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"#;
            let rest = r#","name":"node-1","namespace":"kube-node-lease"},"spec":{"seconds":40}}"#;
            format!(r#"{metadata}"resourceVersion":"{version}"{rest}"#)
        };
        let (one, other) = (body("1234"), body("9"));
        assert_eq!(between_ends_of(&one, &other), r#"":{"resourceVersion":"9","name""#);
    }
}
