//! Outgoing HTTP: requests leave only through a link.

use crate::state::CallScope;
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

type Sent = Box<dyn Future<Output = Result<()>> + Send>;

impl WasiHttpHooks for CallScope {
    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _sent: Sent,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Sent)>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
