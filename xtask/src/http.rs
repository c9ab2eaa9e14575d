//! The smallest HTTP client: a GET from a program of ours on the loopback address.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);
/// More than any answer we ask for.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The body of a 200 answer. In version 1.0 the server closes when it is done and sends no chunks.
pub fn get(port: u16, path: &str) -> Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let place = || format!("GET http://{address}{path}");
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).with_context(place)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(place)?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).with_context(place)?;
    body(&String::from_utf8_lossy(&bytes)).with_context(place)
}

fn body(answer: &str) -> Result<String> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of headers")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        bail!("status {status}: {}", body.trim());
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_has_a_body() {
        assert_eq!(body("HTTP/1.0 200 OK\r\nA: b\r\n\r\nx\r\n\r\ny").unwrap(), "x\r\n\r\ny");
        for wrong in ["HTTP/1.0 503 Service Unavailable\r\n\r\nwait", "HTTP/1.0 200 OK\r\n", ""] {
            assert!(body(wrong).is_err(), "{wrong}");
        }
    }
}
