//! The verbs a question may use, in the forms people use them, and what each asks for.

use std::str::FromStr;

use whodid_query::{Expr, Field, Known, ObjectRef, Term, Test, Value};

use super::{exists, is};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb(&'static Row);

/// A verb that is none of those that can be asked about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot ask who {verb:?}; ask who {known}")]
pub struct UnknownVerb {
    verb: String,
    known: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    infinitive: &'static str,
    others: &'static [&'static str],
    asks: Asks,
}

#[derive(Debug, PartialEq, Eq)]
enum Asks {
    /// One of these actions.
    Actions(&'static [&'static str]),
    /// A create, in whatever way.
    Create,
    /// A deletion, of the object or of all its kind, or an eviction.
    Delete,
}

macro_rules! verbs {
    ($($infinitive:literal [$($other:literal)*] $asks:expr;)*) => {
        const VERBS: &[Row] =
            &[$(Row { infinitive: $infinitive, others: &[$($other),*], asks: $asks }),*];
    };
}

use Asks::{Actions, Create, Delete};

// Third person and past; what people say instead.
verbs! {
    "delete" ["deletes" "deleted" "remove" "removes" "removed"] Delete;
    "create" ["creates" "created" "add" "adds" "added"] Create;
    "change" ["changes" "changed" "modify" "modifies" "modified"]
        Actions(&["create", "update", "apply", "patch", "scale", "delete"]);
    "update" ["updates" "updated"] Actions(&["update"]);
    "apply" ["applies" "applied"] Actions(&["apply"]);
    "patch" ["patches" "patched" "edit" "edits" "edited"] Actions(&["patch"]);
    "scale" ["scales" "scaled"] Actions(&["scale"]);
    "exec" ["execs" "execed" "exec'd" "executed"] Actions(&["exec"]);
    "attach" ["attaches" "attached"] Actions(&["attach"]);
    "debug" ["debugs" "debugged"] Actions(&["debug"]);
    "port-forward" ["port-forwards" "port-forwarded" "forwarded"] Actions(&["port-forward"]);
    "proxy" ["proxies" "proxied"] Actions(&["proxy"]);
    "logs" ["log" "logged"] Actions(&["logs"]);
    "evict" ["evicts" "evicted"] Actions(&["evict"]);
    "bind" ["binds" "bound" "schedule" "schedules" "scheduled"] Actions(&["bind"]);
    "grant" ["grants" "granted"] Actions(&["grant"]);
    "approve" ["approves" "approved"] Actions(&["approve"]);
    "read" ["reads" "get" "gets" "got" "view" "views" "viewed"] Actions(&["read"]);
    "list" ["lists" "listed"] Actions(&["list"]);
    "watch" ["watches" "watched"] Actions(&["watch"]);
    "token" ["tokens"] Actions(&["token"]);
    "review" ["reviews" "reviewed"] Actions(&["review"]);
}

impl FromStr for Verb {
    type Err = UnknownVerb;

    fn from_str(text: &str) -> Result<Self, UnknownVerb> {
        let verb = text.to_lowercase();
        let is_it = |row: &&Row| row.infinitive == verb || row.others.contains(&verb.as_str());
        VERBS.iter().find(is_it).map(Verb).ok_or_else(|| UnknownVerb {
            verb: text.to_owned(),
            known: VERBS.iter().map(|row| row.infinitive).collect::<Vec<_>>().join(", "),
        })
    }
}

impl Verb {
    /// Its infinitive.
    pub fn name(self) -> &'static str {
        self.0.infinitive
    }

    /// The verbs that can be asked about.
    pub fn all() -> impl Iterator<Item = Verb> {
        VERBS.iter().map(Verb)
    }

    /// A query for the requests that did this to an object, or tried to. What controllers report
    /// of an object's state is no change to it.
    pub(super) fn done_to(self, object: &Expr) -> Expr {
        let any =
            |actions: &[&str]| Expr::or(actions.iter().map(|action| is(Known::Action, action)));
        match &self.0.asks {
            Actions(actions) => {
                let is_status = is(Known::Subresource, "status");
                Expr::and([any(actions), object.clone(), Expr::not(is_status)])
            }
            Create => {
                let created =
                    Term { field: Field::Known(Known::Code), test: Test::Is(Value::Int(201)) };
                let by_patch = Expr::and([is(Known::Verb, "patch"), created.into()]);
                let is_new = Expr::or([is(Known::Verb, "create"), by_patch]);
                Expr::and([is_new, object.clone(), Expr::not(exists(Known::Subresource))])
            }
            Delete => {
                let one = Expr::and([any(&["delete", "evict"]), object.clone()]);
                let all = Expr::and([any(&["delete-collection"]), kind_of(object)]);
                Expr::or([one, all])
            }
        }
    }
}

/// The same without the name: what a deletion of many is about.
fn kind_of(object: &Expr) -> Expr {
    match object {
        Expr::Term(Term { test: Test::Is(Value::Object(object)), .. }) => {
            let ObjectRef { namespace, resource, .. } = object;
            let matches = |field, pattern: &whodid_query::Wildcard| {
                Expr::from(Term { field: Field::Known(field), test: pattern.clone().into() })
            };
            let in_namespace = namespace.as_ref().map(|namespace| matches(Known::Ns, namespace));
            Expr::and([matches(Known::Resource, resource)].into_iter().chain(in_namespace))
        }
        Expr::And(parts) => Expr::and(parts.iter().map(kind_of)),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_verbs() {
        for (text, name) in [
            ("delete", "delete"),
            ("Deleted", "delete"),
            ("changes", "change"),
            ("exec", "exec"),
            ("bound", "bind"),
            ("got", "read"),
        ] {
            assert_eq!(text.parse::<Verb>().unwrap().name(), name);
        }
        let error = "frobnicated".parse::<Verb>().unwrap_err().to_string();
        assert!(error.starts_with("cannot ask who \"frobnicated\"; ask who delete, create, "));
    }

    #[test]
    fn no_form_stands_for_two_verbs() {
        let mut seen = std::collections::HashSet::new();
        for row in VERBS {
            for form in [row.infinitive].iter().chain(row.others) {
                assert!(seen.insert(*form), "{form}");
            }
        }
    }

    #[test]
    fn what_verbs_ask_for() {
        let object = whodid_query::parse("object:pod/web-1 ns:shop").unwrap().expr;
        for (verb, query) in [
            ("exec", "action:exec object:pods/web-1 ns:shop -subresource:status"),
            (
                "deleted",
                "(action:delete OR action:evict) object:pods/web-1 ns:shop OR action:delete-collection resource:pods ns:shop",
            ),
            (
                "created",
                "(verb:create OR verb:patch code:201) object:pods/web-1 ns:shop -subresource:*",
            ),
        ] {
            let asked = verb.parse::<Verb>().unwrap().done_to(&object);
            assert_eq!(whodid_query::Query { expr: asked }.to_string(), query);
        }
    }
}
