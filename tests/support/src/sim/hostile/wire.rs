//! Attacks below HTTP: stalls, half-closed connections and other protocols on the port.

use http::Method;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::mode::Hostility;
use crate::sim::faults::ActiveFault;
use crate::sim::traffic::Traffic;

/// The longest request head that is read here.
const LONGEST_HEAD: usize = 64 * 1024;

/// The beginning of a record that announces a `ServerHello` of 16 kB.
const BEGUN_SERVER_HELLO: &[u8] = &[0x16, 0x03, 0x03, 0x3f, 0xff, 0x02, 0x00, 0x3f, 0xfb, 0x03, 0x03];

/// An empty SETTINGS frame, and a GOAWAY frame that is shorter than it says.
const HTTP2_FRAMES: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 7, 0, 0, 0, 0, 0];

/// Attacks a connection before its handshake; returns whether it is over.
pub(crate) async fn before_tls<S>(mode: &Hostility, active: &ActiveFault, stream: &mut S) -> io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match mode {
        Hostility::AcceptAndHang => active.lifted().await,
        Hostility::TlsHang => {
            // The client has said something, so that it is the server's turn.
            let _length = stream.read(&mut [0; 1024]).await?;
            stream.write_all(BEGUN_SERVER_HELLO).await?;
            active.lifted().await;
        }
        Hostility::PlainHttp => {
            let _length = stream.read(&mut [0; 1024]).await?;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
            stream.write_all(answer).await?;
            stream.shutdown().await?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Attacks a connection after its handshake; returns whether it is over.
pub(crate) async fn after_tls<S>(
    mode: &Hostility,
    active: &ActiveFault,
    traffic: &Traffic,
    stream: &mut S,
) -> io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match mode {
        Hostility::HalfClose => {
            record(traffic, stream).await?;
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
            stream.write_all(head).await?;
            stream.shutdown().await?;
            active.lifted().await;
        }
        Hostility::Http2Garbage => {
            record(traffic, stream).await?;
            stream.write_all(HTTP2_FRAMES).await?;
            for _ in 0..1024 {
                stream.write_all(&[0xfe; 1024]).await?;
            }
            active.lifted().await;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads the head of a request and records it.
async fn record(traffic: &Traffic, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await?;
        if length == 0 || head.len() > LONGEST_HEAD {
            return Err(io::Error::other("no request came"));
        }
        head.extend_from_slice(&piece[..length]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let method = words.next().and_then(|method| method.parse().ok()).unwrap_or(Method::GET);
    let is_authorized = head.to_lowercase().contains("\r\nauthorization:");
    traffic.requested(&method, words.next().unwrap_or_default(), is_authorized);
    Ok(())
}
