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
async fn what_a_guest_writes_at_once_is_one_piece_and_the_rest_a_stream_that_holds_its_place() {
    let whole = Ahead::read(wasi(vec![b"one", b"two"])).await.unwrap();
    assert!(whole.ended());
    let held = Arc::new(());
    let body = whole.into_body(100, Arc::clone(&held)).unwrap();
    assert_eq!(HttpBody::size_hint(&body).exact(), Some(6));
    assert_eq!(Arc::strong_count(&held), 1, "its place is free: nobody asks the guest again");

    let (mut writer, reader) = futures::channel::mpsc::unbounded::<Result<Frame<Bytes>, Error>>();
    let mut write = |data: Bytes| writer.start_send(Ok(Frame::data(data))).unwrap();
    write(Bytes::from_static(b"first"));
    let ahead = Ahead::read(StreamBody::new(reader).boxed_unsync()).await.unwrap();
    assert!(!ahead.ended());
    let body = ahead.into_body(11, Arc::clone(&held)).unwrap();
    assert_eq!((HttpBody::size_hint(&body).exact(), Arc::strong_count(&held)), (None, 2));
    write(Bytes::from_static(b"second"));
    writer.close_channel();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "firstsecond");
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test]
async fn reading_ahead_is_bounded_and_finds_errors_before_the_head_is_sent() {
    let endless =
        futures::stream::repeat_with(|| Ok::<_, Error>(Frame::data(Bytes::from_static(&[0; 4096]))));
    let ahead = Ahead::read(StreamBody::new(endless).boxed_unsync()).await.unwrap();
    assert!(!ahead.ended());
    assert_eq!(ahead.frames.len(), 17, "64 KiB and what goes over it");
    let error = ahead.into_body(69_631, ()).err().unwrap();
    assert_eq!(error.code, ErrorCode::TooLarge);
    let broken =
        futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"x"))), Err(Error::InternalError(None))]);
    let error = Ahead::read(StreamBody::new(broken).boxed_unsync()).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Guest);
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
