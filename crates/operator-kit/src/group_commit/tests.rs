use super::*;
use crate::Fence;
use http::{Request, Response};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock::Handle;

type Server = Handle<Request<Body>, Response<Body>>;

/// Names on a list: whoever asks is on it afterwards.
struct List;

impl Ledger for List {
    type Object = Namespace;
    type Request = &'static str;
    type Answer = usize;

    fn sequence(object: &Namespace) -> i64 {
        i64::try_from(object.annotations().len()).unwrap()
    }

    fn plan(
        &mut self,
        objects: &Objects<Namespace>,
        requests: &[&Self::Request],
    ) -> Plan<Namespace, usize> {
        let known = objects.get("list").cloned().unwrap_or_else(|| {
            Arc::new(serde_json::from_value(json!({"metadata": {"name": "list"}})).unwrap())
        });
        let mut next = Namespace::clone(&known);
        for name in requests {
            next.annotations_mut().insert((**name).to_owned(), String::new());
        }
        let (count, rests_on) = (next.annotations().len(), BTreeSet::from(["list".to_owned()]));
        let decision = |_: &&Self::Request| Decision { answer: count, rests_on: rests_on.clone() };
        let decisions = requests.iter().map(decision).collect();
        let is_new = next.annotations() != known.annotations();
        let next = is_new.then(|| ("list".to_owned(), next)).into_iter().collect();
        Plan { next, decisions }
    }
}

fn writer() -> (GroupCommit<List>, Server) {
    let (service, server) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "default");
    let cache = Arc::new(Cache::new(client.clone()));
    (GroupCommit::new(List, cache, Applier::new(client, "words", Fence::open()), "list"), server)
}

fn object(version: &str, names: &[&str]) -> Value {
    let names: BTreeMap<&str, &str> = names.iter().map(|name| (*name, "")).collect();
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata":
        {"name": "list", "uid": "u", "resourceVersion": version, "annotations": names}})
}

fn first_list() -> (u16, Value) {
    (
        200,
        json!({"apiVersion": "v1", "kind": "NamespaceList", "metadata": {}, "items": [object("1", &[])]}),
    )
}

fn refusal(code: u16) -> (u16, Value) {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": "No", "message": "no", "metadata": {}});
    (code, body)
}

/// Answers requests in their order; each as its method and the names it wrote.
async fn answer(server: &mut Server, answers: Vec<(u16, Value)>) -> Vec<String> {
    let mut asked = Vec::new();
    for (status, reply) in answers {
        let (request, responder) = server.next_request().await.expect("no request");
        let method = request.method().to_string();
        let bytes = request.into_body().collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let names: Vec<&String> = body["metadata"]["annotations"]
            .as_object()
            .map(|names| names.keys().collect())
            .unwrap_or_default();
        asked.push(format!("{method} {names:?}"));
        let answer = Body::from(serde_json::to_vec(&reply).unwrap());
        responder.send_response(Response::builder().status(status).body(answer).unwrap());
    }
    asked
}

#[tokio::test]
async fn who_waits_while_one_writes_is_written_together() {
    let (writer, mut server) = writer();
    let answers = vec![
        first_list(),
        (200, object("2", &["a"])),
        // The cache has seen nothing yet: the second write builds on what the first one left.
        (200, object("3", &["a", "b", "c"])),
    ];
    let (a, b, c, asked) = tokio::join!(
        writer.ask("a"),
        writer.ask("b"),
        writer.ask("c"),
        answer(&mut server, answers)
    );
    assert_eq!([a.unwrap(), b.unwrap(), c.unwrap()], [1, 3, 3]);
    assert_eq!(asked, ["GET []", r#"PUT ["a"]"#, r#"PUT ["a", "b", "c"]"#]);
}

#[tokio::test]
async fn who_was_beaten_reads_and_plans_again() {
    let (writer, mut server) = writer();
    let answers = vec![
        first_list(),
        refusal(409),
        (200, object("7", &["x"])),
        (200, object("8", &["a", "x"])),
    ];
    let (a, asked) = tokio::join!(writer.ask("a"), answer(&mut server, answers));
    assert_eq!(a.unwrap(), 2);
    assert_eq!(asked, ["GET []", r#"PUT ["a"]"#, "GET []", r#"PUT ["a", "x"]"#]);
}

#[tokio::test]
async fn the_first_asker_makes_the_object() {
    let (writer, mut server) = writer();
    let empty = json!({"apiVersion": "v1", "kind": "NamespaceList", "metadata": {}, "items": []});
    let answers = vec![(200, empty), (201, object("1", &[])), (200, object("2", &["a"]))];
    let (a, asked) = tokio::join!(writer.ask("a"), answer(&mut server, answers));
    assert_eq!(a.unwrap(), 1);
    assert_eq!(asked[..2], ["GET []", r#"POST ["a"]"#]);
    assert!(asked[2].starts_with("PUT"), "the status goes with a request of its own");
    let raced = vec![refusal(409), (200, object("7", &["x"])), (200, object("8", &["b", "x"]))];
    let (other, mut server) = self::writer();
    let empty = json!({"apiVersion": "v1", "kind": "NamespaceList", "metadata": {}, "items": []});
    let answers = std::iter::once((200, empty)).chain(raced).collect();
    let (b, asked) = tokio::join!(other.ask("b"), answer(&mut server, answers));
    assert_eq!(b.unwrap(), 2);
    assert_eq!(asked, ["GET []", r#"POST ["b"]"#, "GET []", r#"PUT ["b", "x"]"#]);
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_a_read() {
    let (writer, mut server) = writer();
    let answers = vec![first_list(), refusal(504), (200, object("2", &["a"]))];
    let (a, asked) = tokio::join!(writer.ask("a"), answer(&mut server, answers));
    assert_eq!(a.unwrap(), 1);
    assert_eq!(asked, ["GET []", r#"PUT ["a"]"#, "GET []"], "written once");
}

#[tokio::test]
async fn what_nobody_knows_is_read_before_the_next_plan() {
    let (writer, mut server) = writer();
    let answers = vec![first_list(), refusal(504), refusal(503)];
    let (a, _) = tokio::join!(writer.ask("a"), answer(&mut server, answers));
    assert!(matches!(a, Err(CommitError::Request { .. })));
    let written = json!({"apiVersion": "v1", "kind": "NamespaceList", "metadata": {},
        "items": [object("2", &["a"])]});
    let (a, asked) = tokio::join!(writer.ask("a"), answer(&mut server, vec![(200, written)]));
    assert_eq!(a.unwrap(), 1, "it had happened");
    assert_eq!(asked, ["GET []"]);
}

#[tokio::test]
async fn a_verdict_of_the_server_goes_to_the_asker() {
    let (writer, mut server) = writer();
    let answers = vec![first_list(), refusal(422)];
    let (a, _) = tokio::join!(writer.ask("a"), answer(&mut server, answers));
    assert!(matches!(a, Err(CommitError::Request { object, .. }) if object == "list"));
    let beaten = (0..ATTEMPTS_MAX).flat_map(|_| [refusal(409), (200, object("7", &[]))]);
    let (a, _) = tokio::join!(writer.ask("a"), answer(&mut server, beaten.collect()));
    assert!(matches!(a, Err(CommitError::Contended { .. })));
}

#[tokio::test]
async fn an_asker_that_goes_away_takes_nobody_with_it() {
    let (writer, mut server) = writer();
    let lost = {
        let mut first = Box::pin(writer.ask("a"));
        let mut second = Box::pin(writer.ask("b"));
        // The first one writes, the second one waits; then the first one is dropped in the middle.
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        let (_request, send) = server.next_request().await.unwrap();
        send.send_response(Response::new(Body::from(first_list().1.to_string().into_bytes())));
        drop(first);
        let answers = vec![first_list(), (200, object("2", &["b"]))];
        let (second, asked) = tokio::join!(second, answer(&mut server, answers));
        assert_eq!(asked, ["GET []", r#"PUT ["b"]"#]);
        second
    };
    assert_eq!(lost.unwrap(), 1);
}
