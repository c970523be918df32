//! What a plan learns while it runs: a join that knows one side tells the scan of the other which
//! rows can have a partner. Only leaves of the log are understood; whoever joins tests all again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, Column, InListExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::physical_expr::{
    snapshot_generation, snapshot_physical_expr,
};

use super::SEQ;

/// What the rest of a plan says of the rows that it needs, while it runs.
#[derive(Clone, Default)]
pub(crate) struct Later {
    filters: Vec<Arc<dyn PhysicalExpr>>,
    /// What they left when they were asked last: it takes long to read, and every file asks.
    known: Arc<Mutex<Option<Left>>>,
}

/// The leaves that are left, and by which state of the filters.
type Left = (u64, Option<Arc<BTreeSet<i64>>>);

impl Later {
    /// With more filters.
    pub(super) fn and(&self, more: impl Iterator<Item = Arc<dyn PhysicalExpr>>) -> Self {
        Later { filters: self.filters.iter().cloned().chain(more).collect(), ..Self::default() }
    }

    pub(super) fn filters(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.filters
    }

    /// The leaves that all of the filters leave, as far as they are known by now; `None` if that
    /// may be any.
    pub(super) fn leaves(&self) -> Result<Option<Arc<BTreeSet<i64>>>> {
        // Before they are read: what changes meanwhile is read again.
        let state = self.filters.iter().map(snapshot_generation).fold(0, u64::wrapping_add);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, leaves)) if *of == state => Ok(leaves.clone()),
            _ => {
                let leaves = leaves(&self.filters)?.map(Arc::new);
                *known = Some((state, leaves.clone()));
                Ok(leaves)
            }
        }
    }
}

fn leaves(filters: &[Arc<dyn PhysicalExpr>]) -> Result<Option<BTreeSet<i64>>> {
    let mut leaves = None;
    for filter in filters {
        let known = snapshot_physical_expr(Arc::clone(filter))?;
        leaves = both(leaves, of(&known));
    }
    Ok(leaves)
}

/// What one expression leaves.
fn of(expr: &Arc<dyn PhysicalExpr>) -> Option<BTreeSet<i64>> {
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        let passes_none = *literal.value() == ScalarValue::Boolean(Some(false));
        return passes_none.then(BTreeSet::new);
    }
    if let Some(list) = expr.downcast_ref::<InListExpr>() {
        return if list.negated() { None } else { listed(list) };
    }
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        let (left, right) = (of(binary.left()), of(binary.right()));
        return match binary.op() {
            Operator::And => both(left, right),
            Operator::Or => either(left, right),
            _ => None,
        };
    }
    // Of a join in parts: each row belongs to one of them.
    let cases = expr.downcast_ref::<CaseExpr>()?;
    let whens = cases.when_then_expr().iter().map(|(_, then)| of(then));
    let otherwise = cases.else_expr().map_or(Some(BTreeSet::new()), of);
    whens.fold(otherwise, either)
}

fn both(one: Option<BTreeSet<i64>>, other: Option<BTreeSet<i64>>) -> Option<BTreeSet<i64>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(&one & &other),
        (one, other) => one.or(other),
    }
}

fn either(one: Option<BTreeSet<i64>>, other: Option<BTreeSet<i64>>) -> Option<BTreeSet<i64>> {
    Some(&one? | &other?)
}

/// The leaves in a list of them, alone or with other columns.
fn listed(list: &InListExpr) -> Option<BTreeSet<i64>> {
    let is_seq = |expr: &Arc<dyn PhysicalExpr>| {
        expr.downcast_ref::<Column>().is_some_and(|column| column.name() == SEQ)
    };
    let at = if is_seq(list.expr()) {
        None
    } else {
        let tuple = list.expr().downcast_ref::<ScalarFunctionExpr>()?;
        Some(tuple.args().iter().position(is_seq).filter(|_| tuple.name() == "struct")?)
    };
    let leaf = |value: &Arc<dyn PhysicalExpr>| {
        let value = value.downcast_ref::<Literal>()?.value();
        match (at, value) {
            (None, value) => seq(value),
            (Some(at), ScalarValue::Struct(tuple)) => {
                seq(&ScalarValue::try_from_array(tuple.columns().get(at)?, 0).ok()?)
            }
            _ => None,
        }
    };
    list.list().iter().map(leaf).collect()
}

fn seq(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int64(seq) => *seq,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::expressions::{DynamicFilterPhysicalExpr, in_list, lit};

    use super::*;

    fn schema() -> Schema {
        let field = |name| Field::new(name, DataType::Int64, true);
        Schema::new(vec![field(SEQ), field("code")])
    }

    fn among(column: &str, values: &[i64], negated: bool) -> Arc<dyn PhysicalExpr> {
        let at = schema().index_of(column).unwrap();
        let list = values.iter().map(|value| lit(*value)).collect();
        in_list(Arc::new(Column::new(column, at)), list, &negated, &schema()).unwrap()
    }

    fn joined(
        one: Arc<dyn PhysicalExpr>,
        op: Operator,
        other: Arc<dyn PhysicalExpr>,
    ) -> Arc<dyn PhysicalExpr> {
        Arc::new(BinaryExpr::new(one, op, other))
    }

    #[test]
    fn what_is_known_is_known_until_the_plan_knows_more() {
        let filter = Arc::new(DynamicFilterPhysicalExpr::new(Vec::new(), lit(true)));
        let later =
            Later::default().and([Arc::clone(&filter) as Arc<dyn PhysicalExpr>].into_iter());
        let known = || later.leaves().unwrap().map(|leaves| leaves.iter().copied().collect());
        assert_eq!(known(), None::<Vec<i64>>);
        for leaves in [&[1, 2][..], &[2]] {
            filter.update(among(SEQ, leaves, false)).unwrap();
            assert_eq!((known(), known()), (Some(leaves.to_vec()), Some(leaves.to_vec())));
        }
        let both = later.and([among(SEQ, &[3], false)].into_iter());
        assert_eq!(both.leaves().unwrap(), Some(Arc::new([].into())));
    }

    #[test]
    fn what_filters_leave() {
        let these = |values: &[i64]| among(SEQ, values, false);
        let codes = || among("code", &[1], false);
        for (expr, expected) in [
            (these(&[1, 2]), Some(vec![1, 2])),
            (among(SEQ, &[1, 2], true), None),
            (codes(), None),
            (joined(these(&[1, 2]), Operator::And, codes()), Some(vec![1, 2])),
            (joined(these(&[1, 2]), Operator::And, these(&[2, 3])), Some(vec![2])),
            (joined(these(&[1]), Operator::Or, these(&[3])), Some(vec![1, 3])),
            (joined(these(&[1]), Operator::Or, codes()), None),
            (lit(false), Some(vec![])),
            (lit(true), None),
        ] {
            let expected = expected.map(BTreeSet::from_iter);
            assert_eq!(leaves(&[Arc::clone(&expr)]).unwrap(), expected, "{expr}");
        }
        assert_eq!(leaves(&[]).unwrap(), None);
        let two = leaves(&[these(&[1, 2]), codes(), these(&[2])]).unwrap();
        assert_eq!(two, Some([2].into()));
    }
}
