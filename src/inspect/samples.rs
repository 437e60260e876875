//! Samples one by one: a table, CSV, or an array of JSON. What was written is forgotten at once.

use std::fmt;
use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::Damages;
use super::text::{name, time};
use crate::settings::Form;

/// One value of one series.
#[derive(Debug, Clone, Serialize)]
pub struct Sample<'a> {
    /// The host's name; "" if nothing tells.
    pub hostname: &'a str,
    /// The level's scope.
    pub scope: &'a str,
    /// The metric's name.
    pub metric: &'a str,
    /// The level's id.
    pub scope_id: &'a str,
    /// The level's path.
    pub selector: &'a str,
    /// Unix time in s.
    pub timestamp: i64,
    /// Seconds between the values of its series; of a log it is not known.
    pub frequency: Option<i64>,
    /// The value.
    pub value: Number,
}

/// A value as it is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// In 32 bits, as here.
    Single(f32),
    /// In 64 bits, as other programs do.
    Double(f64),
}

impl Number {
    /// True if it is no sample.
    pub fn is_nan(self) -> bool {
        match self {
            Self::Single(value) => value.is_nan(),
            Self::Double(value) => value.is_nan(),
        }
    }
}

/// As few digits as tell it from its neighbours.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(value) => value.fmt(f),
            Self::Double(value) => value.fmt(f),
        }
    }
}

/// JSON has no infinities: they are texts.
impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Single(value) if value.is_finite() => serializer.serialize_f32(*value),
            Self::Double(value) if value.is_finite() => serializer.serialize_f64(*value),
            other => serializer.collect_str(other),
        }
    }
}

/// Writes samples in one of the forms.
pub struct Writer {
    out: Box<dyn Write + Send>,
    form: Form,
    run_id: String,
    path: String,
    has_begun: bool,
    count: u64,
}

/// The columns of CSV: those of an object.
const COLUMNS: &str = "hostname,scope,metric,scope_id,selector,timestamp,frequency,value";

impl Writer {
    /// Writes to `out` the samples of the file at `path`. Nothing is written yet: it may not be one.
    pub fn new(out: Box<dyn Write + Send>, form: Form, run_id: &str, path: &str) -> Self {
        Self { out, form, run_id: run_id.to_owned(), path: path.to_owned(), has_begun: false, count: 0 }
    }

    /// What stands before the first sample.
    fn begin(&mut self) -> io::Result<()> {
        let Self { out, form, run_id, path, has_begun, .. } = self;
        if std::mem::replace(has_begun, true) {
            return Ok(());
        }
        match form {
            Form::Csv => writeln!(out, "{COLUMNS}"),
            Form::Table => writeln!(out, "{:<20}  {:<10}  {:<16}  {:<20}  value", "time", "host", "level", "metric"),
            Form::Json => write!(out, "{{\"run_id\":{},\"path\":{},\"values\":[", json(run_id)?, json(path)?),
        }
    }

    /// How many samples were written.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Writes one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, sample: &Sample<'_>) -> io::Result<()> {
        let Sample { hostname, scope, metric, scope_id, selector, timestamp, frequency, value } = sample;
        self.begin()?;
        let (out, is_first) = (&mut self.out, self.count == 0);
        self.count += 1;
        match self.form {
            Form::Csv => {
                for text in [hostname, scope, metric, scope_id, selector] {
                    write!(out, "{},", Quoted(text))?;
                }
                let frequency = frequency.map(|seconds| seconds.to_string()).unwrap_or_default();
                writeln!(out, "{timestamp},{frequency},{value}")
            }
            Form::Table => writeln!(out, "{}  {:<10}  {:<16}  {:<20}  {value}", time(*timestamp), name(hostname), name(selector), name(metric)),
            Form::Json => {
                out.write_all(if is_first { b"\n" } else { b",\n" })?;
                serde_json::to_writer(out, sample).map_err(io::Error::from)
            }
        }
    }

    /// Ends with what stands behind the last sample.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(&mut self, damage: &Damages) -> io::Result<()> {
        self.begin()?;
        if self.form == Form::Json {
            #[derive(Serialize)]
            struct Rest<'a> {
                count: u64,
                #[serde(flatten)]
                damage: &'a Damages,
            }
            let rest = json(&Rest { count: self.count, damage })?;
            writeln!(self.out, "\n],{}", &rest[1..])?;
        }
        self.out.flush()
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("form", &self.form).field("count", &self.count).finish_non_exhaustive()
    }
}

fn json(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value)?)
}

/// A field of CSV (RFC 4180).
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(['"', ',', '\n', '\r']) { write!(f, "\"{}\"", self.0.replace('"', "\"\"")) } else { f.write_str(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(form: Form, samples: &[Sample<'_>]) -> String {
        let kept = Kept::default();
        let mut writer = Writer::new(Box::new(kept.clone()), form, "r1", "a \"b\"");
        samples.iter().for_each(|sample| writer.write(sample).expect("written"));
        writer.finish(&Damages::default()).expect("written");
        let bytes = kept.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn names_with_commas_and_infinities_are_written_so_that_they_are_read_again() {
        let one =
            Sample { hostname: "n1", scope: "a,\"b", metric: "m", scope_id: "", selector: "a,\"b", timestamp: 7, frequency: None, value: Number::Single(0.1) };
        let other = Sample { frequency: Some(60), value: Number::Single(f32::NEG_INFINITY), ..one.clone() };
        let csv = written(Form::Csv, &[one.clone(), other.clone()]);
        assert_eq!(csv.lines().skip(1).collect::<Vec<_>>(), ["n1,\"a,\"\"b\",m,,\"a,\"\"b\",7,,0.1", "n1,\"a,\"\"b\",m,,\"a,\"\"b\",7,60,-inf"]);
        for samples in [&[][..], &[one, other]] {
            let read: serde_json::Value = serde_json::from_str(&written(Form::Json, samples)).expect("JSON");
            assert_eq!((read["count"].as_u64(), read["values"].as_array().map(Vec::len)), (Some(samples.len() as u64), Some(samples.len())));
            if let Some(last) = read["values"].as_array().and_then(|values| values.last()) {
                assert_eq!((&last["value"], &last["frequency"], &read["path"]), (&"-inf".into(), &60.into(), &"a \"b\"".into()));
            }
        }
    }
}
