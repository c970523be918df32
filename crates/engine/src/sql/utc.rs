//! `date_trunc` of times in UTC. DataFusion looks each time up in the calendar of its zone, which
//! was a quarter of a question that counts by hours; what has no zone it truncates by arithmetic,
//! and UTC has no hour or day that is longer than others. What it means is DataFusion's to say.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::Result;
use datafusion::functions::datetime::date_trunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

/// The zone of all times in the record.
const UTC: &str = "UTC";

/// The function, to take the place of DataFusion's.
pub(super) fn truncate() -> ScalarUDF {
    ScalarUDF::from(Truncate(date_trunc()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Truncate(Arc<ScalarUDF>);

impl ScalarUDFImpl for Truncate {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(ColumnarValue::Array(times)) = args.args.get_mut(1) else {
            return self.0.inner().invoke_with_args(args);
        };
        let zone = match times.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == UTC => {
                Arc::clone(zone)
            }
            _ => return self.0.inner().invoke_with_args(args),
        };
        *times = in_zone(times, None);
        Ok(match self.0.inner().invoke_with_args(args)? {
            ColumnarValue::Array(times) => ColumnarValue::Array(in_zone(&times, Some(zone))),
            one @ ColumnarValue::Scalar(_) => one,
        })
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.0.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }
}

/// The same numbers, as times in another zone.
fn in_zone(times: &ArrayRef, zone: Option<Arc<str>>) -> ArrayRef {
    Arc::new(times.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(zone))
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampMicrosecondArray;
    use arrow::datatypes::Field;
    use datafusion::common::ScalarValue;
    use datafusion::common::config::ConfigOptions;
    use proptest::prelude::*;

    use super::*;

    fn truncated(by: &ScalarUDF, to: &str, times: &TimestampMicrosecondArray) -> ArrayRef {
        let times: ArrayRef = Arc::new(times.clone());
        let field = Arc::new(Field::new("time", times.data_type().clone(), true));
        let args = ScalarFunctionArgs {
            number_rows: times.len(),
            arg_fields: vec![Arc::new(Field::new("to", DataType::Utf8, false)), Arc::clone(&field)],
            args: vec![ColumnarValue::Scalar(ScalarValue::from(to)), ColumnarValue::Array(times)],
            return_field: field,
            config_options: Arc::new(ConfigOptions::default()),
        };
        match by.invoke_with_args(args).unwrap() {
            ColumnarValue::Array(times) => times,
            ColumnarValue::Scalar(_) => panic!("a scalar"),
        }
    }

    proptest! {
        /// Before 1970 and after it, whatever it is truncated to.
        #[test]
        fn it_is_what_the_calendar_says(
            // What fits into nanoseconds; DataFusion's refuses the rest.
            times in prop::collection::vec(
                prop::option::of(-9_000_000_000_000_000..9_000_000_000_000_000_i64),
                0..20,
            ),
            zone in prop::option::of(prop::sample::select(vec!["UTC", "+00:00", "+05:30"])),
            to in prop::sample::select(
                vec!["year", "quarter", "month", "week", "day", "hour", "minute", "second"],
            ),
        ) {
            let times = TimestampMicrosecondArray::from(times).with_timezone_opt(zone);
            let of = |by: &ScalarUDF| truncated(by, to, &times);
            prop_assert_eq!(&of(&truncate()), &of(&date_trunc()));
        }
    }
}
