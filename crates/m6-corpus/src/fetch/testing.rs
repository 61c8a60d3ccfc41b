//! A web server on loopback that says what a test tells it to, and remembers what it was asked.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    /// How often this path was asked for before.
    pub n_before: usize,
}

/// What the server says.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub bytes: Vec<u8>,
    /// Before the first byte.
    pub pause: Duration,
    /// After the bytes more of the same are sent until nobody listens.
    pub is_endless: bool,
}

impl Answer {
    /// A status, headers (`Name: value`), and a body with its length.
    pub(super) fn new(status: u16, headers: &[&str], body: &[u8]) -> Self {
        let mut head = format!(
            "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for header in headers {
            head += header;
            head += "\r\n";
        }
        Self::raw(&[head.as_bytes(), b"\r\n", body].concat())
    }

    /// Exactly these bytes.
    pub(super) fn raw(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            pause: Duration::ZERO,
            is_endless: false,
        }
    }
}

/// The server; it ends with the value.
pub(super) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    n_connections: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    /// Starts a server whose answers `say` makes; `/robots.txt` is missing unless it says otherwise.
    pub(super) fn start(say: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            n_connections: Arc::default(),
            most_at_once: Arc::default(),
            is_over: Arc::default(),
        };
        let say = Arc::new(say);
        let (asked, is_over) = (server.asked.clone(), server.is_over.clone());
        let (n_connections, most) = (server.n_connections.clone(), server.most_at_once.clone());
        let n_open = Arc::new(AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                n_connections.fetch_add(1, Ordering::SeqCst);
                most.fetch_max(n_open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let (asked, say, n_open) = (asked.clone(), say.clone(), n_open.clone());
                std::thread::spawn(move || {
                    serve(stream, &asked, &*say);
                    n_open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    /// An address of this server, by number.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// An address of this server, by name: another host to whoever counts hosts.
    pub(super) fn url_by_name(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.address.port())
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Paths in the order they were asked for, without robots.txt.
    pub(super) fn paths(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let paths = asked.iter().map(|asked| asked.path.clone());
        paths.filter(|path| path != "/robots.txt").collect()
    }

    /// How often a path was asked for.
    pub(super) fn n_asked(&self, path: &str) -> usize {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|asked| asked.path == path)
            .count()
    }

    pub(super) fn n_connections(&self) -> usize {
        self.n_connections.load(Ordering::SeqCst)
    }

    /// Most connections that were open at one time.
    pub(super) fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener; when that fails, it is gone already.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, asked: &Mutex<Vec<Asked>>, say: &dyn Fn(&Asked) -> Answer) {
    let mut head = Vec::new();
    let mut piece = [0u8; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(n) if n > 0 => head.extend(&piece[..n]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let path = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default()
        .to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let request = {
        let mut asked = asked.lock().unwrap();
        let n_before = asked.iter().filter(|before| before.path == path).count();
        let request = Asked {
            path,
            headers: headers.collect(),
            n_before,
        };
        asked.push(request.clone());
        request
    };
    let answer = say(&request);
    std::thread::sleep(answer.pause);
    let mut is_heard = stream.write_all(&answer.bytes).is_ok();
    while answer.is_endless && is_heard {
        is_heard = stream
            .write_all(&answer.bytes[answer.bytes.len() / 2..])
            .is_ok();
    }
    // Whoever closes with unread input resets the connection: say goodbye and wait for the other side.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    while matches!(stream.read(&mut piece), Ok(n) if n > 0) {}
}
