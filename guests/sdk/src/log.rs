//! Log lines with a level (`wasi:logging/logging@0.1.0-draft`): `log::info!("{} devices", count)`.
//! The context of a line is the module that wrote it. A guest's standard error also reaches the host's log, without
//! a level.

use crate::bindings::logging::wasi::logging::logging;

pub use logging::Level;

pub use crate::{
    __log_critical as critical, __log_debug as debug, __log_error as error, __log_info as info,
    __log_trace as trace, __log_warn as warn,
};

/// Writes one line. The macros call this; call it for a context of your own.
pub fn write(level: Level, context: &str, message: &str) {
    logging::log(level, context, message);
}

/// One line at a level; what the macros above have in common.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $($argument:tt)*) => {
        $crate::log::write(
            $crate::log::Level::$level,
            ::core::module_path!(),
            &::std::format!($($argument)*),
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($argument:tt)*) => { $crate::__log!(Trace, $($argument)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($argument:tt)*) => { $crate::__log!(Debug, $($argument)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($argument:tt)*) => { $crate::__log!(Info, $($argument)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($argument:tt)*) => { $crate::__log!(Warn, $($argument)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($argument:tt)*) => { $crate::__log!(Error, $($argument)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_critical {
    ($($argument:tt)*) => { $crate::__log!(Critical, $($argument)*) };
}
