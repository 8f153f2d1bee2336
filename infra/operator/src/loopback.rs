//! The end of the sign-in's way back: one small HTTP listener on this machine.
//!
//! Knows: just enough HTTP to take a browser's GET and to answer with a page. Refuses to know: what the answer means.
//! Guarantees: it listens on loopback only, on both families, because browsers try either for `localhost`; a connection
//! that says nothing, as browsers open ahead of need, holds nobody up.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::page;
use crate::trouble::Trouble;

/// Path of the redirect URI.
pub(crate) const PATH: &str = "/consent";

/// Codes are a kilobyte or two; a browser's headers a few more.
const HEAD_BYTES: usize = 32 * 1024;

/// For a browser on the same machine to send its request, or to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listeners, and whoever comes.
pub(crate) struct Loopback {
    pub(crate) port: u16,
    visitors: mpsc::Receiver<Visitor>,
}

/// A browser that came back and waits for its page.
pub(crate) struct Visitor {
    pub(crate) query: String,
    stream: TcpStream,
}

impl Loopback {
    /// Listens; port 0 picks a free one.
    pub(crate) async fn listen(port: u16) -> Result<Self, Trouble> {
        let (sender, visitors) = mpsc::channel(8);
        let first = bind(IpAddr::V4(Ipv4Addr::LOCALHOST), port).await?;
        let port = first
            .local_addr()
            .map(|address| address.port())
            .map_err(|error| unusable(port, &error))?;
        let mut listeners = vec![first];
        // Not every machine has the other family.
        match bind(IpAddr::V6(Ipv6Addr::LOCALHOST), port).await {
            Ok(second) => listeners.push(second),
            Err(trouble) if trouble.code == "port_taken" => return Err(trouble),
            Err(_) => {}
        }
        for listener in listeners {
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let sender = sender.clone();
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(PATIENCE, receive(stream, sender)).await;
                    });
                }
            });
        }
        Ok(Self { port, visitors })
    }

    /// The redirect URI. Entra's portal takes http for `localhost` only, by that name.
    pub(crate) fn redirect_uri(&self) -> String {
        format!("http://localhost:{}{PATH}", self.port)
    }

    /// The next browser that comes back from a sign-in.
    pub(crate) async fn visitor(&mut self) -> Option<Visitor> {
        self.visitors.recv().await
    }
}

impl Visitor {
    /// Shows a page. A browser that has gone misses it.
    pub(crate) async fn show(mut self, html: &str) {
        let _ = tokio::time::timeout(PATIENCE, answer(&mut self.stream, "200 OK", html)).await;
    }
}

async fn bind(address: IpAddr, port: u16) -> Result<TcpListener, Trouble> {
    TcpListener::bind(SocketAddr::new(address, port))
        .await
        .map_err(|error| unusable(port, &error))
}

fn unusable(port: u16, error: &std::io::Error) -> Trouble {
    let code = if error.kind() == ErrorKind::AddrInUse {
        "port_taken"
    } else {
        "port_unusable"
    };
    Trouble::new(
        code,
        format!("port {port} of this machine cannot be used: {error}"),
        "end the other program (another `make consent ENV=...`?), or choose another port with `ARGS=\"--port 8401\"`; Entra ignores the port of a \
         localhost redirect URI, so nothing has to be registered anew",
    )
}

/// Reads one request; answers what is not the sign-in itself.
async fn receive(mut stream: TcpStream, visitors: mpsc::Sender<Visitor>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut chunk).await?;
        if count == 0 || head.len() > HEAD_BYTES {
            return Ok(());
        }
        head.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
    let text = String::from_utf8_lossy(&head);
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if method != "GET" || path != PATH || query.is_empty() {
        // A favicon, or somebody who tries the address by hand.
        return answer(&mut stream, "404 Not Found", &page::nothing_here()).await;
    }
    let query = query.to_owned();
    // If nobody waits any more the connection just ends.
    let _ = visitors.send(Visitor { query, stream }).await;
    Ok(())
}

async fn answer(stream: &mut TcpStream, status: &str, html: &str) -> std::io::Result<()> {
    // The address in the browser holds the code: it must not travel on, nor be kept. It is worthless without the verifier
    // that never left this process.
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        html.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(html.as_bytes()).await?;
    stream.shutdown().await
}
