//! What a plan wants to know once: below a grouping that counts nothing, a scan leaves out of each
//! file the rows that say what an earlier one said.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, downcast_dictionary_array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{ArrowDictionaryKeyType, ArrowNativeType};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::union::UnionExec;

use super::Scan;

/// A scan that is told differs in nothing that a plan knows of it.
const SAME: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);

/// Rows are compared by numbers up to this one.
const KINDS_MAX: usize = 1 << 20;

/// Tells scans that each row is wanted once, wherever that is so.
#[derive(Debug)]
pub(crate) struct Distinct;

impl PhysicalOptimizerRule for Distinct {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let tell = |plan: Arc<dyn ExecutionPlan>| {
            let told = plan.downcast_ref::<AggregateExec>().filter(|grouping| {
                let mut groups = grouping.group_expr().expr().iter();
                // What is no column may differ although the columns do not.
                grouping.aggr_expr().is_empty() && groups.all(|(group, _)| group.is::<Column>())
            });
            let told = told.and_then(|grouping| told_once(grouping.input()));
            Ok(match told {
                Some(input) => Transformed::yes(plan.replace_children(vec![input], SAME)?),
                None => Transformed::no(plan),
            })
        };
        plan.transform_up(tell).data()
    }

    fn name(&self) -> &'static str {
        "distinct"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The same plan with its scans told, if it has any and hands their rows on as they are.
fn told_once(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    if let Some(source) = plan.downcast_ref::<DataSourceExec>() {
        let scan = source.data_source().downcast_ref::<Scan>()?;
        return Some(DataSourceExec::from_data_source(Scan { is_distinct: true, ..scan.clone() }));
    }
    if !plan.is::<CooperativeExec>() && !plan.is::<UnionExec>() {
        return None;
    }
    let inputs = plan.children().into_iter();
    let inputs = inputs.map(|input| told_once(input).unwrap_or_else(|| Arc::clone(input)));
    Arc::clone(plan).replace_children(inputs.collect(), SAME).ok()
}

/// Of rows that say the same in all of these columns the first; all rows, if there may be so many
/// different ones that comparing would not pay.
pub(super) fn first_of_each<'a>(
    columns: impl IntoIterator<Item = &'a ArrayRef>,
    rows: BooleanBuffer,
) -> BooleanBuffer {
    let (mut numbers, mut kinds) = (vec![0; rows.count_set_bits()], 1_usize);
    for column in columns {
        let Some(values) = column.as_any_dictionary_opt().map(|column| column.values().len())
        else {
            return rows;
        };
        kinds = kinds.saturating_mul(values + 1);
        if kinds > KINDS_MAX {
            return rows;
        }
        downcast_dictionary_array!(
            column => count_on(&mut numbers, column, &rows),
            _ => return rows
        );
    }
    let mut seen = vec![false; kinds];
    let mut is_first = |number: u32| {
        seen.get_mut(number as usize).is_none_or(|seen| !std::mem::replace(seen, true))
    };
    let first = rows.set_indices().zip(numbers).map(|(row, number)| (row, is_first(number)));
    super::set(rows.len(), first)
}

/// Tells the numbers of some rows apart by what another column says, too.
fn count_on<K: ArrowDictionaryKeyType>(
    numbers: &mut [u32],
    column: &DictionaryArray<K>,
    rows: &BooleanBuffer,
) {
    let keys = column.keys();
    // There are at most `KINDS_MAX` of them.
    let none = u32::try_from(column.values().len()).unwrap_or_default();
    let number = |key: &K::Native| u32::try_from(key.as_usize()).map_or(none, |key| key.min(none));
    let values = keys.values();
    for (before, row) in numbers.iter_mut().zip(rows.set_indices()) {
        let key = values.get(row).filter(|_| keys.is_valid(row)).map_or(none, number);
        *before = *before * (none + 1) + key;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use arrow::array::Int64Array;
    use arrow::datatypes::UInt8Type;
    use proptest::prelude::*;

    use super::*;

    /// What two columns say, and whether it is asked for.
    type Row = (Option<bool>, Option<bool>, bool);

    fn texts(values: &[Option<bool>]) -> ArrayRef {
        let texts = values.iter().map(|value| value.map(|value| format!("v{value}")));
        let texts: Vec<Option<String>> = texts.collect();
        let texts = texts.iter().map(Option::as_deref);
        Arc::new(texts.collect::<DictionaryArray<UInt8Type>>())
    }

    proptest! {
        /// Every row that is left out is said by one before it, and none is said twice.
        #[test]
        fn each_is_said_once(
            values in prop::collection::vec(any::<Row>(), 0..200),
        ) {
            let column = |pick: fn(&Row) -> Option<bool>| {
                texts(&values.iter().map(pick).collect::<Vec<_>>())
            };
            let columns = [column(|row| row.0), column(|row| row.1)];
            let rows: BooleanBuffer = values.iter().map(|row| row.2).collect();
            let mut seen = HashSet::new();
            let first = values.iter().map(|(one, other, is_there)| {
                *is_there && seen.insert((*one, *other))
            });
            let first: BooleanBuffer = first.collect();
            prop_assert_eq!(first_of_each(&columns, rows), first);
        }
    }

    #[test]
    fn numbers_are_not_compared() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 1]));
        let rows = BooleanBuffer::new_set(2);
        assert_eq!(first_of_each([&numbers], rows.clone()), rows);
        let none: ArrayRef = texts(&[None, None]);
        assert_eq!(first_of_each([&none], rows), BooleanBuffer::from(vec![true, false]));
    }
}
