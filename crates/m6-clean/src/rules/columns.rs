//! Rows of numbers whose fields are columns that a rule can name (ours).

/// A row of numbers with named columns: what rules are decided over and what is kept beside a record.
pub trait Row {
    /// The column names, in the order of the fields.
    const COLUMNS: &'static [&'static str];

    /// The number in column `column` (an index into [`Row::COLUMNS`]); `None` when it was not measured or there is no such column.
    fn value(&self, column: usize) -> Option<f64>;

    /// The row with these values, as [`Row::value`] gave them; what is missing counts as 0, or as not measured where a column
    /// can be empty.
    fn from_values(values: &[Option<f64>]) -> Self
    where
        Self: Sized;

    /// All values, in the order of the columns.
    fn values(&self) -> Vec<Option<f64>> {
        (0..Self::COLUMNS.len())
            .map(|column| self.value(column))
            .collect()
    }

    /// The index of the column called `name`.
    fn index_of(name: &str) -> Option<usize> {
        Self::COLUMNS.iter().position(|column| *column == name)
    }
}

/// Kinds of numbers that a column can hold.
pub(crate) trait Number {
    fn number(&self) -> Option<f64>;
    fn from_number(number: Option<f64>) -> Self;
}

impl Number for u64 {
    fn number(&self) -> Option<f64> {
        Some(*self as f64)
    }

    fn from_number(number: Option<f64>) -> Self {
        number.unwrap_or(0.0) as u64
    }
}

impl Number for f64 {
    fn number(&self) -> Option<f64> {
        Some(*self)
    }

    fn from_number(number: Option<f64>) -> Self {
        number.unwrap_or(0.0)
    }
}

impl<T: Number> Number for Option<T> {
    fn number(&self) -> Option<f64> {
        self.as_ref().and_then(Number::number)
    }

    fn from_number(number: Option<f64>) -> Self {
        number.map(|number| T::from_number(Some(number)))
    }
}

/// Defines a flat struct of numbers together with its [`Row`], so that a field and its column can never differ.
macro_rules! columns {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])+ $field:ident: $kind:ty,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[$doc])+ pub $field: $kind,)+
        }

        impl $crate::rules::columns::Row for $name {
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),+];

            fn value(&self, column: usize) -> Option<f64> {
                const GETTERS: &[fn(&$name) -> Option<f64>] =
                    &[$(|row| $crate::rules::columns::Number::number(&row.$field)),+];
                GETTERS.get(column).and_then(|get| get(self))
            }

            fn from_values(values: &[Option<f64>]) -> Self {
                let mut values = values.iter().copied();
                Self {
                    $($field: $crate::rules::columns::Number::from_number(values.next().flatten()),)+
                }
            }
        }
    };
}
pub(crate) use columns;

/// `part / whole`, or 0 when there is no whole.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    columns! {
        /// A row for the test.
        Sample {
            /// A count.
            n_things: u64,
            /// A share.
            ratio: f64,
            /// Not always measured.
            extra: Option<f64>,
        }
    }

    #[test]
    fn columns_are_the_fields_in_order() {
        let row = Sample {
            n_things: 3,
            ratio: 0.5,
            extra: None,
        };
        assert_eq!(Sample::COLUMNS, ["n_things", "ratio", "extra"]);
        let values: Vec<Option<f64>> = (0..4).map(|column| row.value(column)).collect();
        assert_eq!(values, [Some(3.0), Some(0.5), None, None]);
        assert_eq!(row.values(), values[..3]);
        assert_eq!(Sample::from_values(&row.values()), row);
        assert_eq!(Sample::from_values(&[]), Sample::default());
        assert_eq!(Sample::index_of("ratio"), Some(1));
        assert_eq!(Sample::index_of("none"), None);
        let read: Sample = serde_json::from_str(r#"{"ratio":0.25}"#).unwrap();
        assert_eq!(
            read,
            Sample {
                n_things: 0,
                ratio: 0.25,
                extra: None
            }
        );
    }

    #[test]
    fn the_share_of_nothing_is_zero() {
        assert_eq!(share(1, 4), 0.25);
        assert_eq!(share(1, 0), 0.0);
    }
}
