//! The training loop: schedule, accumulate, clip, guard, checkpoint, resume, observe.
