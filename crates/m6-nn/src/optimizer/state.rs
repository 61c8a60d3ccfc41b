//! The state of an optimizer as safetensors, whole or in the parts of ranks, written and read.

use super::rule::{Kind, Rule, Values, size_of};
use super::{Moments, Optimizer, Slot};
use crate::error::{Error, Result};
use crate::param::parse;
use m6_store::scratch::Scratch;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

const STEP_KEY: &str = "step";
const RANGE_KEY: &str = "range";

/// A tensor of the state, whose bytes are made when they are asked for.
pub struct StateEntry<'a> {
    /// Name in the file.
    pub name: String,
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
    dtype: Dtype,
    bytes: Bytes<'a>,
}

enum Bytes<'a> {
    Counts(Vec<u8>),
    Moment(&'a Values, Option<&'a Scratch>),
}

impl StateEntry<'_> {
    fn counts(name: String, shape: Vec<usize>, counts: &[u64]) -> Self {
        let bytes = counts.iter().flat_map(|count| count.to_le_bytes());
        Self {
            name,
            dtype: Dtype::U64,
            shape,
            bytes: Bytes::Counts(bytes.collect()),
        }
    }

    /// Name of the number type in the header of the file.
    pub fn dtype(&self) -> &'static str {
        match self.dtype {
            Dtype::U64 => "U64",
            Dtype::U8 => "U8",
            Dtype::F64 => "F64",
            _ => "F32",
        }
    }

    /// Number of the bytes.
    pub fn n_bytes(&self) -> usize {
        match &self.bytes {
            Bytes::Counts(bytes) => bytes.len(),
            Bytes::Moment(values, _) => values.n_bytes(),
        }
    }

    /// The bytes.
    ///
    /// # Errors
    /// Moments that are offloaded cannot be read.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match &self.bytes {
            Bytes::Counts(bytes) => Ok(bytes.into()),
            Bytes::Moment(values, scratch) => values.bytes(*scratch),
        }
    }
}

impl Optimizer {
    /// The state as safetensors bytes: the moments of each parameter NAME under the names of its rule (`exp_avg.NAME` and
    /// `exp_avg_sq.NAME`; with 8 bits `exp_avg_codes.NAME`, `exp_avg_scales.NAME` and the same of `exp_avg_sq`; `momentum.NAME`;
    /// `row_mean_sq.NAME` and `col_mean_sq.NAME`), `step.NAME`, and `step`; of a part of a parameter also `range.NAME`, of each
    /// of its pieces the first element and the one behind the last. The same state gives the same bytes.
    ///
    /// # Errors
    /// Those of the format.
    pub fn state(&self) -> Result<Vec<u8>> {
        let entries = self.state_entries();
        let bytes = entries.iter().map(StateEntry::bytes);
        let bytes: Vec<_> = bytes.collect::<Result<_>>()?;
        let mut views = Vec::with_capacity(entries.len());
        for (entry, bytes) in entries.iter().zip(&bytes) {
            let view = TensorView::new(entry.dtype, entry.shape.clone(), bytes)?;
            views.push((entry.name.as_str(), view));
        }
        Ok(safetensors::serialize(views, None)?)
    }

    /// The tensors of [`Optimizer::state`] in the order of its bytes, for a state that is larger than memory has room for.
    pub fn state_entries(&self) -> Vec<StateEntry<'_>> {
        let mut entries = vec![StateEntry::counts(
            STEP_KEY.into(),
            Vec::new(),
            &[self.n_steps],
        )];
        for (name, slot) in &self.slots {
            let Some(moments) = slot.moments.as_ref().filter(|_| !slot.is_saved_elsewhere) else {
                continue;
            };
            let names = slot.rule.names().iter().zip(slot.kinds());
            for ((prefix, kind), values) in names.zip(&moments.values) {
                entries.push(StateEntry {
                    name: format!("{prefix}.{name}"),
                    dtype: values.dtype(),
                    shape: match slot.is_whole() {
                        true => kind.shape(),
                        false => vec![Slot::n_entries(&kind, &slot.parts)],
                    },
                    bytes: Bytes::Moment(values, self.scratch.as_deref()),
                });
            }
            if !slot.is_whole() {
                let ends = slot.parts.iter().flat_map(|part| [part.start, part.end]);
                let ends: Vec<u64> = ends.map(|end| end as u64).collect();
                let shape = vec![ends.len()];
                entries.push(StateEntry::counts(
                    format!("{RANGE_KEY}.{name}"),
                    shape,
                    &ends,
                ));
            }
            let step = format!("{STEP_KEY}.{name}");
            entries.push(StateEntry::counts(step, Vec::new(), &[moments.n_updates]));
        }
        // As safetensors sorts them.
        entries.sort_by(|a, b| b.dtype.cmp(&a.dtype).then_with(|| a.name.cmp(&b.name)));
        entries
    }

    /// Takes over a state that [`Optimizer::state`] made for the same parameters; training goes on bit for bit.
    ///
    /// # Errors
    /// Damaged bytes; names, shapes, number types or rules that do not fit; nothing changes then.
    pub fn load_state(&mut self, bytes: &[u8]) -> Result<()> {
        self.load_states(&[bytes])
    }

    /// Takes over the state that one or more optimizers made with [`Optimizer::state`], each of its parts of the same parameters, whatever
    /// their parts were; training goes on bit for bit.
    ///
    /// # Errors
    /// As [`Optimizer::load_state`], and for elements that no state has; nothing changes then.
    pub fn load_states(&mut self, states: &[&[u8]]) -> Result<()> {
        let files = states
            .iter()
            .map(|bytes| parse(bytes))
            .collect::<Result<Vec<_>>>()?;
        let steps = files.iter().map(|file| read_count(file, STEP_KEY));
        let steps = steps.collect::<Result<Vec<u64>>>()?;
        let n_steps = match steps.first() {
            Some(first) if steps.iter().all(|step| step == first) => *first,
            _ => return Err(load_error(format!("states of different steps: {steps:?}"))),
        };
        let mut n_known = files.len();
        let mut loaded = BTreeMap::new();
        for (name, slot) in &self.slots {
            let mut found = Found::default();
            for file in &files {
                n_known += found.look(file, name, slot)?;
            }
            let mut moments = found.moments(name, slot)?;
            if let (Some(moments), Some(scratch)) = (&mut moments, &self.scratch) {
                moments.store(scratch, Vec::new())?;
            }
            loaded.insert(name.clone(), moments);
        }
        let n_tensors: usize = files.iter().map(SafeTensors::len).sum();
        if n_known != n_tensors {
            return Err(load_error(format!(
                "{n_tensors} tensors, of which {n_known} belong to parameters of this model"
            )));
        }
        for (name, moments) in loaded {
            if let Some(slot) = self.slots.get_mut(&name) {
                slot.moments = moments;
            }
        }
        self.n_steps = n_steps;
        Ok(())
    }
}

fn load_error(problem: String) -> Error {
    Error::Load {
        what: "optimizer state",
        problem,
    }
}

fn read_count(file: &SafeTensors<'_>, name: &str) -> Result<u64> {
    let view = file.tensor(name)?;
    match (view.dtype(), <[u8; 8]>::try_from(view.data())) {
        (Dtype::U64, Ok(bytes)) => Ok(u64::from_le_bytes(bytes)),
        (dtype, _) => Err(load_error(format!(
            "{name} holds {dtype:?} {:?}, expected one U64",
            view.shape()
        ))),
    }
}

/// The part that a state has of a parameter, in pieces in their order; `None` for all of it.
fn stored_ranges(file: &SafeTensors<'_>, name: &str) -> Result<Option<Vec<Range<usize>>>> {
    let Ok(view) = file.tensor(&format!("{RANGE_KEY}.{name}")) else {
        return Ok(None);
    };
    let ends: Vec<usize> = view
        .data()
        .chunks_exact(8)
        .filter_map(|b| usize::try_from(u64::from_le_bytes(b.try_into().ok()?)).ok())
        .collect();
    let is_whole = view.data().len() == 8 * ends.len() && ends.len().is_multiple_of(2);
    match (
        view.dtype(),
        ends.is_sorted() && is_whole && !ends.is_empty(),
    ) {
        (Dtype::U64, true) => Ok(Some(ends.chunks_exact(2).map(|e| e[0]..e[1]).collect())),
        (dtype, _) => Err(load_error(format!(
            "{RANGE_KEY}.{name} holds {} numbers of {dtype:?}, expected the two ends of each piece, in their order",
            ends.len()
        ))),
    }
}

/// The moments of one parameter's own part, as they are found.
#[derive(Default)]
struct Found {
    /// Bytes of each moment.
    moments: Vec<Vec<u8>>,
    n_updates: Option<u64>,
    /// Elements of the own part that were found, and of the parameter.
    n_own: usize,
    n_all: usize,
}

impl Found {
    /// Takes what a file has of the parameter; gives the number of its tensors that are known with that.
    fn look(&mut self, file: &SafeTensors<'_>, name: &str, slot: &Slot) -> Result<usize> {
        let names = slot.rule.names();
        if file.tensor(&format!("{}.{name}", names[0])).is_err() {
            return refuse_others(file, name, slot.rule);
        }
        let n = slot.n_elements();
        let stored = stored_ranges(file, name)?;
        let is_part = stored.is_some();
        let ranges = stored.unwrap_or_else(|| std::iter::once(0..n).collect());
        let refuses = |range: &&Range<usize>| range.end > n || !slot.may_hold(range);
        if let Some(range) = ranges.iter().find(refuses) {
            return Err(load_error(format!(
                "{range:?} of the {n} elements of {name}, which {} updates",
                slot.rule
            )));
        }
        let n_updates = read_count(file, &format!("{STEP_KEY}.{name}"))?;
        if self.n_updates.is_some_and(|known| known != n_updates) {
            return Err(load_error(format!("parts of {name} of different steps")));
        }
        self.n_updates = Some(n_updates);
        self.moments.resize(names.len(), Vec::new());
        let shared = shared(&ranges, &slot.parts);
        for ((prefix, kind), bytes) in names.iter().zip(slot.kinds()).zip(&mut self.moments) {
            let view = file.tensor(&format!("{prefix}.{name}"))?;
            let dtype = kind.dtype(slot.dtype);
            let shape = match is_part {
                true => vec![Slot::n_entries(&kind, &ranges)],
                false => kind.shape(),
            };
            if view.shape() != shape || view.dtype() != dtype {
                return Err(load_error(format!(
                    "{prefix}.{name} is {:?} {:?}, expected {dtype:?} {shape:?} for its part of {:?}",
                    view.dtype(),
                    view.shape(),
                    slot.shape
                )));
            }
            if shared.is_empty() {
                continue;
            }
            let size = size_of(dtype);
            bytes.resize(size * Slot::n_entries(&kind, &slot.parts), 0);
            let (stored_at, own_at) = (starts(&kind, &ranges), starts(&kind, &slot.parts));
            for (i, k, range) in &shared {
                let entries = kind.entries(range);
                let n_bytes = size * entries.len();
                let from = stored_at[*i] + entries.start - kind.entries(&ranges[*i]).start;
                let to = own_at[*k] + entries.start - kind.entries(&slot.parts[*k]).start;
                bytes[size * to..][..n_bytes]
                    .copy_from_slice(&view.data()[size * from..][..n_bytes]);
            }
        }
        self.n_own += shared
            .iter()
            .map(|(_, _, range)| range.len())
            .sum::<usize>();
        self.n_all += ranges.iter().map(Range::len).sum::<usize>();
        Ok(names.len() + 1 + usize::from(is_part))
    }

    fn moments(self, name: &str, slot: &Slot) -> Result<Option<Moments>> {
        let Some(n_updates) = self.n_updates else {
            return Ok(None);
        };
        let n = slot.n_elements();
        if self.n_all != n || self.n_own != slot.n_own() {
            return Err(load_error(format!(
                "moments of {} elements of {name}, expected {n}; a part of the state is missing",
                self.n_all
            )));
        }
        if slot.n_own() == 0 {
            return Ok(None);
        }
        let kinds = slot.kinds();
        let values = kinds.iter().zip(self.moments);
        let values = values.map(|(kind, bytes)| Values::from_bytes(kind.dtype(slot.dtype), bytes));
        Ok(Some(Moments {
            values: values.collect(),
            n_updates,
        }))
    }
}

/// What two lists of ranges in their order have in common, with the numbers of the two ranges that it is in.
fn shared(a: &[Range<usize>], b: &[Range<usize>]) -> Vec<(usize, usize, Range<usize>)> {
    let (mut i, mut k, mut found) = (0, 0, Vec::new());
    while let (Some(one), Some(other)) = (a.get(i), b.get(k)) {
        let both = one.start.max(other.start)..one.end.min(other.end);
        if !both.is_empty() {
            found.push((i, k, both));
        }
        match one.end <= other.end {
            true => i += 1,
            false => k += 1,
        }
    }
    found
}

/// Where the entries of each range begin, when they lie one after the other.
fn starts(kind: &Kind, ranges: &[Range<usize>]) -> Vec<usize> {
    let mut at = 0;
    let start = |range: &Range<usize>| {
        at += kind.entries(range).len();
        at - kind.entries(range).len()
    };
    ranges.iter().map(start).collect()
}

/// A parameter without moments of its rule has none at all, or the state is of another optimizer.
fn refuse_others(file: &SafeTensors<'_>, name: &str, rule: Rule) -> Result<usize> {
    let has = |other: &Rule| file.tensor(&format!("{}.{name}", other.names()[0])).is_ok();
    match Rule::ALL.iter().find(|other| has(other)) {
        None => Ok(0),
        Some(other) => Err(load_error(format!(
            "the moments of {name} are {other}'s, expected {rule}'s: the state is of another optimizer"
        ))),
    }
}
