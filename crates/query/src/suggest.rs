//! Finds the word that was probably meant, for the hints of errors.

/// The longest text that is compared with anything; nobody mistypes a name this long.
const TEXT_BYTES_MAX: usize = 40;

/// Returns the candidate nearest to `text`, the first of several, if any is near enough to be
/// what was meant.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let text = text.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&text, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= text.len().max(candidate.len()).div_ceil(4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns how many slips of the finger lie between the two: letters added, left out or replaced,
/// and one for letters merely swapped or an end left off or added.
fn distance(text: &str, candidate: &str) -> usize {
    if text == candidate {
        return 0;
    }
    let is_start = text.len() >= 3 && candidate.starts_with(text);
    let is_longer = candidate.len() >= 4 && text.starts_with(candidate);
    if is_start || is_longer || sorted(text) == sorted(candidate) {
        return 1;
    }
    let candidate: Vec<char> = candidate.chars().collect();
    let mut row: Vec<usize> = (0..=candidate.len()).collect();
    for (line, ch) in text.chars().enumerate() {
        let mut left = line + 1;
        let mut next = vec![left];
        for (other, [diagonal, above]) in candidate.iter().zip(row.array_windows()) {
            left = (diagonal + usize::from(ch != *other)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

fn sorted(text: &str) -> Vec<char> {
    let mut chars: Vec<char> = text.chars().collect();
    chars.sort_unstable();
    chars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_slips() {
        for (text, candidate, slips) in [
            ("verb", "verb", 0),
            ("verbs", "verb", 1),
            ("vreb", "verb", 1),
            ("nam", "namespace", 1),
            ("execute", "exec", 1),
            ("deleet", "delete", 1),
            ("kitten", "sitting", 3),
            ("", "abc", 3),
        ] {
            assert_eq!(distance(text, candidate), slips, "{text} {candidate}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        let fields = ["verb", "actor", "action", "ns", "namespace"];
        for (text, expected) in [
            ("VERB", Some("verb")),
            ("acto", Some("actor")),
            ("act", Some("actor")),
            ("naemspace", Some("namespace")),
            ("https", None),
            ("system", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, fields), expected, "{text}");
        }
        assert_eq!(nearest(&"v".repeat(1 << 20), fields), None);
    }
}
