//! Rows of Parquet files of any bytes, as the parquet crate reads them one by one: what others are held against.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::Field;

/// No more rows are read: a file of few bytes can say that it has as many as it likes.
const MOST: i64 = 10_000;

/// A row's fields, by their names.
pub struct Fields(Vec<(String, Field)>);

impl Fields {
    /// A field.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, field)| field)
    }

    /// A field that is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Field::Str(text) => Some(text.clone()),
            Field::Bytes(text) => String::from_utf8(text.data().to_vec()).ok(),
            _ => None,
        }
    }
}

/// What `of` makes of all rows; None if the reader gives up, if there are too many, or if `of` can make nothing of one.
pub fn read<T>(data: &[u8], of: impl Fn(&Fields) -> Option<T>) -> Option<Vec<T>> {
    let read = || {
        let reader = SerializedFileReader::new(Bytes::copy_from_slice(data)).ok()?;
        if reader.metadata().file_metadata().num_rows() > MOST {
            return None;
        }
        reader.get_row_iter(None).ok()?.map(|row| of(&Fields(row.ok()?.into_columns()))).collect()
    };
    catch_unwind(AssertUnwindSafe(read)).ok()?
}
