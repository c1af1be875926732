//! Bodies alone, without a guest.

use super::*;
use http_body_util::{Full, StreamBody};

fn wasi(parts: Vec<&'static [u8]>) -> WasiBody {
    let frames = parts.into_iter().map(|part| Ok::<_, Error>(Frame::data(Bytes::from_static(part))));
    StreamBody::new(futures::stream::iter(frames)).boxed_unsync()
}

#[tokio::test]
async fn a_finished_body_has_a_known_length() {
    for (parts, expected) in
        [(vec![], ""), (vec![&b"one"[..]], "one"), (vec![&b"one"[..], &b"two"[..], &b"!"[..]], "onetwo!")]
    {
        let body = finished(wasi(parts), 100).unwrap();
        assert_eq!(HttpBody::size_hint(&body).exact(), Some(expected.len() as u64));
        assert_eq!(body.collect().await.unwrap().to_bytes(), expected);
    }
    assert_eq!(finished(wasi(vec![b"four"]), 3).err().unwrap().code, ErrorCode::TooLarge);
}

#[tokio::test]
async fn trailers_pass() {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", http::HeaderValue::from_static("7"));
    let body = Full::new(Bytes::from_static(b"data"))
        .map_err(|never| match never {})
        .with_trailers(std::future::ready(Some(Ok(trailers.clone()))))
        .boxed_unsync();
    let collected = finished(body, 100).unwrap().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "data");
}

#[tokio::test]
async fn a_request_body_over_its_limit_ends_with_an_error() {
    let (mut body, exceeded) = RequestBody::new(full(vec![0; 11]), 10);
    assert!(matches!(body.frame().await, Some(Err(Error::HttpRequestBodySize(Some(10))))));
    assert!(exceeded.load(Ordering::Relaxed));
    let (body, exceeded) = RequestBody::new(full(vec![0; 10]), 10);
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), 10);
    assert!(!exceeded.load(Ordering::Relaxed));
}
