//! What the edge processor decides, and nothing of how it hears or tells: pure functions over plain data, so that
//! all of it is tested on any machine. The actor around it is `edge-processor`.
//!
//! | module | decides |
//! |---|---|
//! | [`reading`] | which JSON is a sensor reading, and what is wrong with the rest |
//! | [`alert`] | how alarming a reading is under a configuration |
//! | [`command`] | what a command from the cloud changes, once, and which commands are refused |
//! | [`subject`] | which subjects carry what |
//! | [`message`] | what is sent between cloud and edge |

pub mod alert;
pub mod command;
pub mod message;
pub mod reading;
pub mod subject;
pub mod token;

pub use alert::{ActorConfig, AlertLevel, ProcessedResult};
pub use command::{NodeState, SyncCommand};
pub use message::EdgeMessage;
pub use reading::SensorData;
