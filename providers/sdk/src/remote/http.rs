//! HTTP over the lattice, in both directions: the caller's half, and the process's.

use super::client::Remote;
use super::wire::{Operation, Wanted, no_answer};
use crate::forward::{read_request, read_response, write_request, write_response};
use crate::http::{Allowed, Body, HttpClient, HttpHandler, HttpServer, Route, RouteRequest};
use crate::{BoxFuture, CallContext, ProviderError};
use bytes::Bytes;
use futures::FutureExt;
use lattice_protocol::Report;
use std::net::SocketAddr;
use std::sync::Arc;

impl HttpClient for Remote {
    fn send<'a>(
        &'a self,
        cx: &'a CallContext,
        allowed: &'a Allowed,
        request: http::Request<Body>,
    ) -> BoxFuture<'a, Result<http::Response<Body>, ProviderError>> {
        async move {
            let write = async { write_request(request, self.max_body()).await.map_err(ProviderError::from) };
            let request = cx.bounded("request body", write).await?;
            let operation = Operation::Send { allowed: allowed.clone() };
            let answer = self.call(cx, operation, &[Some(request)]).await?;
            read_response(&answer).map_err(|report| no_answer(report.what))
        }
        .boxed()
    }
}

impl HttpServer for Remote {
    fn add_route(
        &self,
        route: RouteRequest,
        handler: Arc<dyn HttpHandler>,
    ) -> BoxFuture<'_, Result<Box<dyn Route>, ProviderError>> {
        async move {
            let lease = self.lease(handler.target(), Wanted::Route(route)).await?;
            Ok(Box::new(lease) as Box<dyn Route>)
        }
        .boxed()
    }

    fn local_address(&self) -> SocketAddr {
        self.listens_on()
    }
}

/// Sends a request out, in the process.
pub(super) async fn send(
    client: &dyn HttpClient,
    cx: &CallContext,
    (allowed, request): (&Allowed, &Bytes),
    max_body: usize,
) -> Result<Bytes, Report> {
    let request = read_request(request)?;
    let exchange = async {
        let response = client.send(cx, allowed, request).await?;
        write_response(response, max_body).await.map_err(ProviderError::from)
    };
    Ok(cx.bounded("HTTP exchange", exchange).await?)
}
