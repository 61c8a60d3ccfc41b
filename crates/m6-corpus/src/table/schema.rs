//! What a table holds: columns, their kinds, one cell.

use std::borrow::Cow;
use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// 64-bit floating point.
    Float,
    /// 64-bit signed integer.
    Int,
    /// True or false.
    Bool,
}

impl Kind {
    /// The Parquet type that carries it.
    pub(super) fn physical(self) -> Physical {
        match self {
            Kind::Text => Physical::BYTE_ARRAY,
            Kind::Float => Physical::DOUBLE,
            Kind::Int => Physical::INT64,
            Kind::Bool => Physical::BOOLEAN,
        }
    }

    /// The kind of a Parquet type, if there is one.
    pub(super) fn of(physical: Physical) -> Option<Self> {
        match physical {
            Physical::BYTE_ARRAY => Some(Kind::Text),
            Physical::DOUBLE => Some(Kind::Float),
            Physical::INT64 => Some(Kind::Int),
            Physical::BOOLEAN => Some(Kind::Bool),
            _ => None,
        }
    }

    /// The word used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Float => "float",
            Kind::Int => "int",
            Kind::Bool => "bool",
        }
    }
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Cow<'static, str>,
    /// What its cells are.
    pub kind: Kind,
    /// Whether its texts are long and seldom repeat, so that a dictionary and statistics only cost.
    pub long: bool,
}

impl Column {
    /// A column of short or repeating values.
    pub fn new(name: impl Into<Cow<'static, str>>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            long: false,
        }
    }

    /// A column of long texts.
    pub fn long(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            kind: Kind::Text,
            long: true,
        }
    }
}

/// One cell of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Nothing; fits every column.
    Null,
    /// Text.
    Text(&'a str),
    /// A floating-point number.
    Float(f64),
    /// An integer.
    Int(i64),
    /// True or false.
    Bool(bool),
}

impl Cell<'_> {
    /// The kind of column that takes it; none for [`Cell::Null`].
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Cell::Null => None,
            Cell::Text(_) => Some(Kind::Text),
            Cell::Float(_) => Some(Kind::Float),
            Cell::Int(_) => Some(Kind::Int),
            Cell::Bool(_) => Some(Kind::Bool),
        }
    }
}

/// The Parquet schema of the columns.
pub(super) fn message(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let mut fields = Vec::with_capacity(columns.len());
    for column in columns {
        let mut field = Type::primitive_type_builder(&column.name, column.kind.physical())
            .with_repetition(Repetition::OPTIONAL);
        if column.kind == Kind::Text {
            field = field
                .with_converted_type(ConvertedType::UTF8)
                .with_logical_type(Some(LogicalType::String));
        }
        fields.push(Arc::new(field.build()?));
    }
    Ok(Arc::new(
        Type::group_type_builder("m6").with_fields(fields).build()?,
    ))
}
