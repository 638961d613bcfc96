//! A server that is no API server: it takes note of what is sent to it, by whoever followed a redirect.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a connection may say nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most that is read of one request.
const LONGEST_REQUEST: usize = 64 * 1024;

/// A plain HTTP server on 127.0.0.1 that remembers the head of every request, until it is dropped.
#[derive(Debug)]
pub struct Witness {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Starts to listen.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (seen, is_over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (notes, over) = (Arc::clone(&seen), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(|stream| (!over.load(Ordering::Acquire)).then_some(stream)) {
                // Who sends nothing, or goes away, has told nothing.
                let _result = stream.and_then(|stream| attend(stream, &notes));
            }
        });
        Ok(Self { address, seen, is_over, thread: Some(thread) })
    }

    /// Returns the URL to redirect to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the first bytes of every connection: the heads of requests, where they are requests.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether any request carried an `Authorization` header.
    pub fn saw_a_credential(&self) -> bool {
        self.seen().iter().any(|head| head.to_lowercase().contains("\nauthorization:"))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // A connection ends the wait for one.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _result = thread.join();
        }
    }
}

/// Notes what one connection sends, and answers.
fn attend(mut stream: TcpStream, notes: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < LONGEST_REQUEST {
        match stream.read(&mut piece) {
            Ok(length) if length > 0 => head.extend_from_slice(&piece[..length]),
            _ => break,
        }
    }
    if head.is_empty() {
        return Ok(());
    }
    notes.lock().unwrap_or_else(PoisonError::into_inner).push(String::from_utf8_lossy(&head).into_owned());
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
}
