//! Drawing: image codes from text, one after the other or many at once, and finer codes from codes.
//!
//! Guidance (Ho and Salimans) runs every prompt beside one without text and moves the logits away from what that one says. A prompt
//! gives, bit for bit, what it gives alone.

use super::Prompt;
use super::decoder::{Decoder, Lane, Row, Writes};
use super::draw_options::{DrawMethod, DrawOptions, DrawPrompt, check, is_fine};
use super::options::GenerateOptions;
use super::pick::{Picker, log_sum_exp};
use crate::error::Result;
use crate::input::{SEGMENT_CODE_READ, SEGMENT_FINE_READ, SEGMENT_SOURCE};
use crate::model::Model;
use m6_nn::threads::on_pool;
use m6_store::rng::{Key, Stream};
use rayon::prelude::*;

/// What a prompt gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawn {
    /// Codes of the picture in raster order.
    pub codes: Vec<u32>,
    /// Log probability in nats of the codes that were not given, under the model with the text and without guidance, each when it
    /// was chosen.
    pub logprob: f64,
}

/// Draws a picture for every prompt, all of them at the own grid or all at the finer one; `on_codes(prompt, codes so far)` hears of each
/// code (or each step), hidden ones as the mask.
///
/// # Errors
/// [`Error::Options`](crate::Error::Options) for options that cannot be followed, [`Error::Input`](crate::Error::Input) for a prompt
/// that does not fit the model.
pub fn draw(
    model: &Model,
    prompts: &[DrawPrompt],
    options: &DrawOptions,
    on_codes: &mut dyn FnMut(usize, &[u32]),
) -> Result<Vec<Drawn>> {
    check(model, prompts, options)?;
    let artist = Artist::new(model, options, is_fine(prompts));
    match options.method {
        DrawMethod::Ar => artist.one_by_one(prompts, on_codes),
        DrawMethod::Parallel => {
            let each = prompts.iter().enumerate();
            each.map(|(i, prompt)| artist.in_parallel(i, prompt, on_codes))
                .collect()
        }
    }
}

/// What the model says beside what it says without text.
struct Artist<'m> {
    decoder: Decoder<'m>,
    picker: Picker,
    options: &'m DrawOptions,
    /// Codes, or finer codes.
    writes: Writes,
    n_codes: usize,
    codebook_size: usize,
    /// Entries of the code table: begin and mask.
    marks: (u32, u32),
}

/// One picture in the making, code by code.
struct Canvas {
    lane: Lane,
    logits: Vec<f32>,
    /// The same without text, where there is guidance.
    free: Option<(Lane, Vec<f32>)>,
    key: Key,
    out: Drawn,
}

impl<'m> Artist<'m> {
    fn new(model: &'m Model, options: &'m DrawOptions, fine: bool) -> Self {
        let codes = &model.config().codes;
        let choice = GenerateOptions {
            temperature: options.temperature,
            top_k: options.top_k,
            top_p: options.top_p,
            ..GenerateOptions::default()
        };
        Self {
            decoder: Decoder::new(model),
            picker: Picker::new(&choice, codes.codebook_size),
            options,
            writes: if fine { Writes::Fine } else { Writes::Codes },
            n_codes: if fine {
                codes.n_fine()
            } else {
                codes.n_codes()
            },
            codebook_size: codes.codebook_size,
            marks: (codes.begin(), codes.mask()),
        }
    }

    fn key(&self, prompt: usize) -> Key {
        let stream = self.options.streams.get(prompt).copied().unwrap_or(0);
        // The second stage of a picture draws on other numbers than the first.
        let stage = match self.writes {
            Writes::Fine => "refine",
            Writes::Codes | Writes::Words => "draw",
        };
        Key::new(self.options.seed).child(stage).at(stream)
    }

    fn guides(&self) -> bool {
        self.options.guidance != 1.0 && self.options.guidance_until > 0.0
    }

    fn one_by_one(
        &self,
        prompts: &[DrawPrompt],
        on_codes: &mut dyn FnMut(usize, &[u32]),
    ) -> Result<Vec<Drawn>> {
        let mut canvases = on_pool(|| self.blank(prompts))?;
        for place in 0..self.n_codes {
            on_pool(|| {
                let each = canvases.par_iter_mut().zip(prompts);
                each.for_each(|(canvas, prompt)| {
                    let given = prompt.given.get(place).copied().flatten();
                    self.paint(canvas, place, given);
                });
                match place + 1 < self.n_codes {
                    true => self.advance(&mut canvases, place + 1),
                    false => Ok(()),
                }
            })?;
            for (i, canvas) in canvases.iter().enumerate() {
                on_codes(i, &canvas.out.codes);
            }
        }
        Ok(canvases.into_iter().map(|canvas| canvas.out).collect())
    }

    /// Reads the prompts, and where there is guidance each without its text, which is the same for all that read no codes.
    fn blank(&self, prompts: &[DrawPrompt]) -> Result<Vec<Canvas>> {
        let read = |source: &[u32], coarse: &[u32]| {
            let prompt = Prompt {
                codes: coarse.to_vec(),
                source: source.to_vec(),
                ..Prompt::default()
            };
            self.decoder
                .read(self.writes, &prompt, &[self.marks.0], self.n_codes, 1)
        };
        let mut silent = None;
        let canvas = |(i, prompt): (usize, &DrawPrompt)| {
            let (lane, logits) = read(&prompt.text, &prompt.coarse)?;
            if self.guides() && (silent.is_none() || !prompt.coarse.is_empty()) {
                silent = Some(read(&[], &prompt.coarse)?);
            }
            Ok(Canvas {
                lane,
                logits,
                free: silent.clone(),
                key: self.key(i),
                out: Drawn::default(),
            })
        };
        prompts.iter().enumerate().map(canvas).collect()
    }

    /// Chooses the code of a place, or takes the given one.
    fn paint(&self, canvas: &mut Canvas, place: usize, given: Option<u32>) {
        let code = given.unwrap_or_else(|| {
            let guided = self.is_guided(place, self.n_codes);
            let free = canvas.free.as_ref().filter(|_| guided);
            let logits = self.guide(&canvas.logits, free.map(|(_, logits)| logits.as_slice()));
            let mut stream = canvas.key.at(place as u64).stream();
            let code = self.choose(&logits, &mut stream);
            canvas.out.logprob +=
                f64::from(canvas.logits[code as usize]) - log_sum_exp(&canvas.logits);
            code
        });
        canvas.out.codes.push(code);
    }

    /// Whether choice `i` of `n` is within the share that is guided.
    fn is_guided(&self, i: usize, n: usize) -> bool {
        (i as f64) < self.options.guidance_until * n as f64
    }

    fn guide(&self, told: &[f32], free: Option<&[f32]>) -> Vec<f32> {
        let Some(free) = free else {
            return told.to_vec();
        };
        let scale = self.options.guidance as f32;
        let pairs = told.iter().zip(free);
        pairs
            .map(|(told, free)| free + scale * (told - free))
            .collect()
    }

    fn choose(&self, logits: &[f32], stream: &mut Stream) -> u32 {
        // No code is banned, so there is always one.
        let allowed = self.picker.unbound();
        self.picker.choose(logits, &allowed, stream).unwrap_or(0)
    }

    /// Adds the last code to every lane.
    fn advance(&self, canvases: &mut [Canvas], next: usize) -> Result<()> {
        let last: Vec<u32> = canvases
            .iter()
            .filter_map(|canvas| canvas.out.codes.last().copied())
            .collect();
        // The lanes without text are left behind once guidance ends.
        let goes_on = self.is_guided(next, self.n_codes);
        let (mut lanes, mut tokens, mut sinks) = (Vec::new(), Vec::new(), Vec::new());
        for (canvas, &code) in canvases.iter_mut().zip(&last) {
            lanes.push(&mut canvas.lane);
            sinks.push(&mut canvas.logits);
            tokens.push(code);
            if let Some((lane, logits)) = canvas.free.as_mut().filter(|_| goes_on) {
                lanes.push(lane);
                sinks.push(logits);
                tokens.push(code);
            }
        }
        let logits = self.decoder.step_of(self.writes, &mut lanes, &tokens)?;
        for (sink, logits) in sinks
            .iter_mut()
            .zip(logits.chunks_exact(self.codebook_size))
        {
            sink.copy_from_slice(logits);
        }
        Ok(())
    }

    /// Tells every hidden code at every step and keeps the surest.
    fn in_parallel(
        &self,
        index: usize,
        prompt: &DrawPrompt,
        on_codes: &mut dyn FnMut(usize, &[u32]),
    ) -> Result<Drawn> {
        let mask = self.marks.1;
        let given = |place: usize| prompt.given.get(place).copied().flatten();
        let mut out = Drawn {
            codes: (0..self.n_codes)
                .map(|p| given(p).unwrap_or(mask))
                .collect(),
            logprob: 0.0,
        };
        let key = self.key(index);
        let n_free = out.codes.iter().filter(|c| **c == mask).count();
        for step in 1..=self.options.steps {
            let hidden: Vec<usize> = (0..self.n_codes)
                .filter(|&p| out.codes[p] == mask)
                .collect();
            if hidden.is_empty() {
                break;
            }
            let done = step as f64 / self.options.steps as f64;
            let left =
                (n_free as f64 * (std::f64::consts::FRAC_PI_2 * done).cos()).floor() as usize;
            // Every step tells at least one, the last one all.
            let n_kept = hidden.len() - left.min(hidden.len() - 1) * usize::from(done < 1.0);
            let guided = self.is_guided(step - 1, self.options.steps);
            let told = self.tell(&out.codes, &prompt.coarse, &prompt.text)?;
            let free = match self.guides() && guided {
                true => Some(self.tell(&out.codes, &prompt.coarse, &[])?),
                false => None,
            };
            let mut found = Vec::with_capacity(hidden.len());
            for &place in &hidden {
                let row = place * self.codebook_size..(place + 1) * self.codebook_size;
                let own = &told[row.clone()];
                let logits = self.guide(own, free.as_ref().map(|f| &f[row]));
                let mut stream = key.at(step as u64).at(place as u64).stream();
                let code = self.choose(&logits, &mut stream);
                let sure = f64::from(logits[code as usize]) - log_sum_exp(&logits);
                let noise = -(-stream.f64().max(1e-300).ln()).max(1e-300).ln();
                let spread = self.options.choice_temperature * (1.0 - done);
                let spread = if self.options.temperature > 0.0 {
                    spread
                } else {
                    0.0
                };
                let logprob = f64::from(own[code as usize]) - log_sum_exp(own);
                found.push((sure + spread * noise, place, code, logprob));
            }
            found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for &(_, place, code, logprob) in &found[..n_kept] {
                out.codes[place] = code;
                out.logprob += logprob;
            }
            on_codes(index, &out.codes);
        }
        Ok(out)
    }

    /// Logits of every place of a picture of which some codes are hidden, `[n_codes, k]`.
    fn tell(&self, codes: &[u32], coarse: &[u32], text: &[u32]) -> Result<Vec<f32>> {
        let row = |segment: u32| {
            move |(position, &token): (usize, &u32)| Row {
                token: Some(token),
                position: position as u32,
                segment,
            }
        };
        let own = match self.writes {
            Writes::Fine => SEGMENT_FINE_READ,
            Writes::Codes | Writes::Words => SEGMENT_CODE_READ,
        };
        let picture = codes.iter().enumerate().map(row(own));
        let coarse = coarse.iter().enumerate().map(row(SEGMENT_CODE_READ));
        let words = text.iter().enumerate().map(row(SEGMENT_SOURCE));
        let rows: Vec<Row> = picture.chain(coarse).chain(words).collect();
        self.decoder.tell_codes(&rows, codes.len())
    }
}
