//! Ranks that go on together or stop together.

use crate::error::{Error, Result};
use m6_nn::dist::Communicator;
use serde::{Serialize, de::DeserializeOwned};

/// What every rank has, in their order; an error of one is an error of all, so that nobody waits for a rank that has stopped.
///
/// # Errors
/// This rank's own, or [`Error::Peer`] naming the first other rank that failed.
pub(crate) fn exchange<T: Serialize + DeserializeOwned>(
    comm: &dyn Communicator,
    mine: Result<T>,
) -> Result<Vec<T>> {
    let told: std::result::Result<&T, String> = mine.as_ref().map_err(Error::to_string);
    let bytes = serde_json::to_vec(&told).expect("plain data serialises");
    let all = comm.all_gather(&bytes)?;
    mine?;
    let mut values = Vec::with_capacity(all.len());
    for (rank, bytes) in all.iter().enumerate() {
        let theirs: std::result::Result<T, String> =
            serde_json::from_slice(bytes).unwrap_or_else(|error| Err(error.to_string()));
        match theirs {
            Ok(value) => values.push(value),
            Err(reason) => return Err(Error::Peer { rank, reason }),
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use m6_nn::dist::threads;

    #[test]
    fn one_failure_stops_all_and_is_named() {
        std::thread::scope(|scope| {
            for comm in threads::group(3) {
                scope.spawn(move || {
                    let rank = comm.rank();
                    let all = exchange(comm.as_ref(), Ok(rank * 2)).unwrap();
                    assert_eq!(all, [0, 2, 4]);
                    let mine = match rank {
                        1 => Err(Error::EmptyBatch { step: 7 }),
                        _ => Ok(()),
                    };
                    let error = exchange(comm.as_ref(), mine).unwrap_err();
                    match rank {
                        1 => assert!(matches!(error, Error::EmptyBatch { step: 7 })),
                        _ => {
                            let text = error.to_string();
                            assert!(text.contains("rank 1") && text.contains("step 7"), "{text}");
                        }
                    }
                });
            }
        });
    }
}
