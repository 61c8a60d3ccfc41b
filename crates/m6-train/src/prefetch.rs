//! The next global batch is made on a helper thread while the present one is trained on.

use crate::error::Result;
use m6_data::{Batch, Cursor, Loader};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

/// Whose micro-batches are made: of number `rank`, `rank + n_ranks`, and so on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deal {
    pub rank: usize,
    pub n_ranks: usize,
}

/// A global batch in micro-batches, with the state of the loader after it.
pub(crate) struct GlobalBatch {
    pub micro_batches: Vec<Batch>,
    pub cursor: Cursor,
}

/// Starts the helper on `n_steps` global batches from `cursor` on. Which rows come is a function of the cursor alone,
/// so working ahead changes nothing; the cursor that a checkpoint keeps is the one that travelled with its batch.
///
/// The helper ends with the last batch, with the first error, or when the receiver is dropped.
pub(crate) fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    loader: &'env Loader,
    cursor: Cursor,
    n_steps: u64,
    rows_per_batch: usize,
    accum: usize,
    deal: Deal,
) -> Receiver<Result<GlobalBatch>> {
    // One batch waits and one is in the making: enough to hide the loader, and bounded memory.
    let (sender, receiver) = sync_channel(1);
    scope.spawn(move || {
        produce(
            loader,
            cursor,
            n_steps,
            rows_per_batch,
            accum,
            deal,
            &sender,
        )
    });
    receiver
}

fn produce(
    loader: &Loader,
    mut cursor: Cursor,
    n_steps: u64,
    rows_per_batch: usize,
    accum: usize,
    deal: Deal,
    sender: &SyncSender<Result<GlobalBatch>>,
) {
    for _ in 0..n_steps {
        let made = next_batch(loader, &mut cursor, rows_per_batch, accum, deal);
        let failed = made.is_err();
        if sender.send(made).is_err() || failed {
            return;
        }
    }
}

/// Draws the rows of the next global batch, cuts them, in order, into `accum` micro-batches of nearly equal size, and makes those of `deal`;
/// the others' rows are passed over unread.
pub(crate) fn next_batch(
    loader: &Loader,
    cursor: &mut Cursor,
    rows_per_batch: usize,
    accum: usize,
    deal: Deal,
) -> Result<GlobalBatch> {
    let rows = loader.next_rows(cursor, rows_per_batch);
    let cuts: Vec<usize> = (0..=accum).map(|i| i * rows.len() / accum).collect();
    let micro_batches = cuts
        .windows(2)
        .skip(deal.rank)
        .step_by(deal.n_ranks)
        .map(|cut| loader.batch(&rows[cut[0]..cut[1]]));
    let micro_batches = micro_batches.collect::<std::result::Result<_, _>>()?;
    Ok(GlobalBatch {
        micro_batches,
        cursor: cursor.clone(),
    })
}
