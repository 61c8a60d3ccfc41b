//! Pictures and pages off the web, politely and safely (ours). The only place of the project that dials out.
//!
//! ```text
//! address -> scheme, port, host -> turn of the host -> robots.txt -> resolve, every address checked, that address dialled
//!         -> status, opt-out headers, type, length -> body under a cap -> cache
//! ```
//!
//! Every redirect goes through the same line from its start. What is not to be had is a [`Refusal`] with a stable rule
//! name, never an error of the run; what may come later is tried again with back-off. Proxies of the environment are not
//! used: a proxy would dial an address nobody checked.

mod address;
mod cache;
mod client;
mod collect;
mod config;
mod fetcher;
mod hosts;
mod list;
mod optout;
mod outcome;
mod queue;
mod robots;
mod target;

pub use address::is_public;
pub use collect::{Collected, PICTURES, collect, key_of, member_names};
pub use config::{Config, Network};
pub use fetcher::Fetcher;
pub use list::List;
pub use optout::forbids as opt_out_forbids;
pub use outcome::{Fetched, Outcome, Refusal, Rule, Summary};
pub use robots::Robots;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
