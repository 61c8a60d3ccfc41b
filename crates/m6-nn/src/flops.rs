//! Measured peak speed of this machine.
