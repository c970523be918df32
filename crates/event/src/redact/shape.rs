//! The shape of a secret-bearing object: which of its members stay and which go.

/// What happens to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// It stays.
    Keep,
    /// It goes.
    Redact,
    /// An array: what happens to each of its elements. Anything else goes.
    Each(Box<Shape>),
    /// An object: what happens to its members, and to those not listed. Anything else goes.
    Members { listed: Vec<(String, Shape)>, others: Box<Shape> },
}

/// The shape of a value of which nothing is known to be harmless.
pub(super) const OTHERS_REDACT: Shape = Shape::Redact;

impl Shape {
    pub(super) fn members<const N: usize>(others: Shape, listed: [(&str, Shape); N]) -> Shape {
        let listed = listed.into_iter().map(|(key, shape)| (key.to_owned(), shape)).collect();
        Shape::Members { listed, others: Box::new(others) }
    }

    /// What happens to the member `key` of an object of this shape.
    pub(super) fn member(&self, key: &str) -> &Shape {
        match self {
            Shape::Members { listed, others } => {
                listed.iter().find(|(name, _)| name == key).map_or(&**others, |(_, shape)| shape)
            }
            other => other,
        }
    }

    /// What happens to the value at a JSON Pointer below an object of this shape.
    pub(super) fn at(&self, pointer: &str) -> &Shape {
        pointer.split('/').skip(1).fold(self, |shape, segment| match shape {
            Shape::Each(inner) => inner,
            shape => shape.member(&segment.replace("~1", "/").replace("~0", "~")),
        })
    }

    /// Makes the value below `path` go; `*` stands for any member.
    pub(super) fn redact_path(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else {
            *self = Shape::Redact;
            return;
        };
        if matches!(self, Shape::Keep) {
            *self = Shape::members(Shape::Keep, []);
        }
        let Shape::Members { listed, others } = self else { return };
        if *first == "*" {
            others.redact_path(rest);
            for (_, shape) in listed {
                shape.redact_path(rest);
            }
            return;
        }
        if let Some((_, shape)) = listed.iter_mut().find(|(name, _)| name == first) {
            shape.redact_path(rest);
        } else {
            let mut shape = (**others).clone();
            shape.redact_path(rest);
            listed.push(((*first).to_owned(), shape));
        }
    }
}

/// The annotation in which `kubectl apply` keeps what was applied.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Metadata stays, but for the annotation in which kubectl keeps the whole object once more.
fn metadata() -> Shape {
    let annotations = Shape::members(Shape::Keep, [(LAST_APPLIED, Shape::Redact)]);
    Shape::members(Shape::Keep, [("annotations", annotations)])
}

fn object<const N: usize>(more: [(&str, Shape); N]) -> Shape {
    let mut shape = Shape::members(
        Shape::Redact,
        [("apiVersion", Shape::Keep), ("kind", Shape::Keep), ("metadata", metadata())],
    );
    if let Shape::Members { listed, .. } = &mut shape {
        listed.extend(more.into_iter().map(|(key, shape)| (key.to_owned(), shape)));
    }
    shape
}

/// A core/v1 Secret: the names of its entries stay, their values go.
pub(super) fn secret() -> Shape {
    let names_only = || Shape::members(Shape::Redact, []);
    object([
        ("type", Shape::Keep),
        ("immutable", Shape::Keep),
        ("data", names_only()),
        ("stringData", names_only()),
    ])
}

/// An authentication.k8s.io TokenReview: the token it asks about goes.
pub(super) fn token_review() -> Shape {
    object([
        ("spec", Shape::members(Shape::Redact, [("audiences", Shape::Keep)])),
        ("status", Shape::Keep),
    ])
}

/// An authentication.k8s.io TokenRequest: the token in its answer goes.
pub(super) fn token_request() -> Shape {
    object([
        ("spec", Shape::Keep),
        ("status", Shape::members(Shape::Redact, [("expirationTimestamp", Shape::Keep)])),
    ])
}

/// A list of objects under `key`.
pub(super) fn list(key: &str, item: Shape) -> Shape {
    object([(key, Shape::Each(Box::new(item)))])
}

/// A meta.k8s.io Table: its cells are what `kubectl get` prints, its rows carry metadata or
/// objects.
pub(super) fn table(item: Shape) -> Shape {
    let row = Shape::members(
        Shape::Redact,
        [("cells", Shape::Keep), ("conditions", Shape::Keep), ("object", item)],
    );
    object([("columnDefinitions", Shape::Keep), ("rows", Shape::Each(Box::new(row)))])
}
