//! The errand filter in Rust (test/languages/errands.ts says what an errand is), over a dispatcher and host calls that
//! behave as those of the Rust SDK do.
mod dispatch;
mod host;

use std::rc::Rc;

const TAG: &str = env!("TAG");
const REQUEST: u32 = 0;
const RESPONSE: u32 = 2;
const ANSWER: u32 = 6;
const ANSWER_BODY: u32 = 4;
const MESSAGE: u32 = 5;

fn tagged(rest: &str) -> String {
    format!("{}{}", TAG, rest)
}

#[derive(Default, Clone)]
struct Settings {
    config: String,
    vm_config: String,
    queue: u32,
    counter: u32,
    gauge: u32,
    histogram: u32,
}

#[derive(Default)]
pub struct Root {
    settings: Settings,
}

impl Root {
    fn create_stream(&self) -> Stream {
        Stream { settings: Rc::new(self.settings.clone()), errand: String::new(), told: Vec::new() }
    }
    fn on_vm_start(&mut self, size: usize) -> bool {
        self.settings.vm_config = host::configuration(6);
        self.settings.vm_config.len() == size
    }
    fn on_configure(&mut self, size: usize) -> bool {
        let config = host::configuration(7);
        if config.len() != size || config == "refuse" {
            return false;
        }
        host::set_tick_period(20);
        self.settings.config = config;
        self.settings.queue = host::register_queue(TAG);
        self.settings.counter = host::define_metric(0, &tagged(".counter"));
        self.settings.gauge = host::define_metric(1, &tagged(".gauge"));
        self.settings.histogram = host::define_metric(2, &tagged(".histogram"));
        println!("{} configured", TAG);
        eprintln!("{} complains", TAG);
        true
    }
    fn on_tick(&mut self) {
        let key = tagged(".ticks");
        loop {
            let (value, cas) = host::shared_data(&key);
            let next = value.map_or(0, |text| text.parse::<u32>().unwrap()) + 1;
            if host::set_shared_data(&key, next.to_string().as_bytes(), cas) {
                return;
            }
        }
    }
    fn on_queue_ready(&mut self, token: u32) {
        if let Some(value) = host::dequeue(token) {
            host::set_shared_data(&tagged(".queued"), &value, 0);
        }
    }
}

pub struct Stream {
    settings: Rc<Settings>,
    errand: String,
    told: Vec<String>,
}

fn tell(name: &str, value: &str) {
    host::set_field(REQUEST, name, Some(value))
}

fn edit(map: u32, added: &str, replaced: &str, removed: &str) {
    host::add_field(map, added, TAG);
    host::set_field(map, replaced, Some("new"));
    host::set_field(map, removed, None);
    assert_eq!(host::field(map, removed).unwrap_or_default(), "");
}

fn call(cluster: &str, path: &str) -> Result<u32, u32> {
    let head = [(":method", "POST"), (":path", path), (":authority", "side")];
    host::http_call(cluster, &head, "question").map(|token| {
        dispatch::http_call_made(token);
        token
    })
}

impl Stream {
    fn on_request_headers(&mut self) -> u32 {
        self.errand = host::field(REQUEST, "x-do").unwrap_or_default();
        match self.errand.as_str() {
            "headers" => edit(REQUEST, "x-added", "x-replace", "x-remove"),
            "pairs" => self.pairs(),
            "body" | "edges" => host::set_field(REQUEST, "content-length", None),
            "reply" => {
                host::reply(418, &[("x-reply", TAG)], &tagged(" is a teapot"));
                return 1;
            }
            "call" => {
                call("side", "/first").unwrap();
                return 1;
            }
            "call-nowhere" => {
                if call("nowhere", "/") == Err(2) {
                    tell("x-call", "refused")
                }
            }
            "grpc" | "grpc-fails" => {
                let method = if self.errand == "grpc" { "Ask" } else { "Fail" };
                dispatch::grpc_call_made(host::grpc_call("side-grpc", "errand.Side", method, b"ask"));
                return 1;
            }
            "ticks" => tell("x-ticks", &host::shared_data(&tagged(".ticks")).0.unwrap_or_default()),
            "queue" => host::enqueue(self.settings.queue, &host::field(REQUEST, "x-in").unwrap()),
            "queued" => tell("x-queued", &host::shared_data(&tagged(".queued")).0.unwrap_or_default()),
            "metrics" => self.metrics(),
            "properties" => self.properties(),
            "config" => tell("x-config", &format!("{}|{}", self.settings.config, self.settings.vm_config)),
            "log" => (0..6).for_each(|level| host::log(level, &format!("{} level {}", TAG, level))),
            "library" => {
                let value = std::env::var("ERRAND").unwrap_or_else(|_| "none".into());
                let fine = host::now() > 0 && (cfg!(start) || std::time::SystemTime::now() > std::time::UNIX_EPOCH);
                tell("x-library", &format!("{} {} {}", value, std::env::vars().count(), if fine { "fine" } else { "-" }))
            }
            "trap" => panic!("asked to"),
            _ => {}
        }
        0
    }

    fn on_response_headers(&mut self) -> u32 {
        match self.errand.as_str() {
            "headers" => edit(RESPONSE, "x-out", "x-server", "x-secret"),
            "body" | "edges" => host::set_field(RESPONSE, "content-length", None),
            _ => {}
        }
        0
    }

    fn on_body(&mut self, kind: u32, verb: &str, size: usize, end: bool) -> u32 {
        match self.errand.as_str() {
            "body" | "edges" if !end => return 1,
            "body" => {
                let old = host::buffer(kind, 0, size).unwrap_or_default();
                let new = format!("{}{}{}", TAG, verb, String::from_utf8(old).unwrap());
                host::set_buffer(kind, 0, size, new.as_bytes())
            }
            "edges" => {
                host::set_buffer(kind, 0, 0, b"[");
                host::set_buffer(kind, usize::MAX, 0, b"]")
            }
            _ => {}
        }
        0
    }

    fn on_http_call_response(&mut self, headers: usize, size: usize, _trailers: usize) {
        assert_eq!(host::fields(ANSWER).len(), headers);
        let status = host::field(ANSWER, ":status").unwrap();
        let body = host::buffer(ANSWER_BODY, 0, size).unwrap();
        self.told.push(format!("{} {}", status, String::from_utf8(body).unwrap()));
        if self.told.len() < 2 {
            call("side", "/second").unwrap();
            return;
        }
        tell("x-call", &self.told.join(" "));
        host::resume_request()
    }

    fn on_grpc(&mut self, status: u32, size: usize) {
        match status {
            0 => tell("x-grpc", std::str::from_utf8(&host::buffer(MESSAGE, 0, size).unwrap()).unwrap()),
            _ => tell("x-grpc", &format!("status {}", status)),
        }
        host::resume_request()
    }

    fn pairs(&self) {
        let all = host::fields(REQUEST);
        let count = all.len().to_string();
        let mut list: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        list.push(("x-pairs", &count));
        host::set_fields(REQUEST, &list)
    }

    fn metrics(&self) {
        let Settings { counter, gauge, histogram, .. } = *self.settings;
        host::increment(counter, 5);
        host::record(gauge, 7);
        host::increment(gauge, -2);
        host::record(histogram, 3);
        tell("x-metrics", &format!("{} {}", host::metric(counter), host::metric(gauge)))
    }

    fn properties(&self) {
        host::set_property(&["errand.mark"], TAG.as_bytes());
        let text = |path: &[&str]| host::property(path).map_or("none".into(), |value| String::from_utf8(value).unwrap());
        let port = i64::from_le_bytes(host::property(&["source", "port"]).unwrap().try_into().unwrap());
        let parts = [
            text(&["request", "path"]),
            text(&["plugin_root_id"]),
            port.to_string(),
            text(&["errand.mark"]),
            text(&["no", "such"]),
        ];
        tell("x-properties", &parts.join("|"))
    }

    fn on_log(&mut self) {
        let code = host::property(&["response", "code"]).map_or(0, |bytes| i64::from_le_bytes(bytes.try_into().unwrap()));
        host::log(2, &format!("{} done {} {}", TAG, code, self.errand))
    }
}
