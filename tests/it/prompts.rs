//! Prompts, from a stranger's bytes or from `maskd prompt` to the engine's side and back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails; clippy.toml misses helpers and async tests"
)]

use std::time::Duration;

use clap::Parser;
use maskd::{
    cli,
    frame::Size,
    instance::{BBox, Prompt},
    mask::{LabelMap, Rle},
    publish::{
        Answer, PromptRequest, PublishConfig, Publisher as _, ask,
        wire::{self, Format, MAX_PROMPT_BYTES},
    },
};
use tokio::time::timeout;

use crate::publish::{WITHIN, asker, config, count, eventually, frame, get, open, site, stream, two_boxes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_are_taken_refused_and_counted() {
    let (publisher, mut prompts, metrics, at) = open(config()).await;
    let _gate = publisher.stream(stream("gate")).await.unwrap();
    let key = "maskd/v1/yard/gate/prompt";
    let outcomes = |outcome| count(&metrics, &format!("maskd_prompts_total{{stream=\"gate\",cause=\"{outcome}\"}}"));

    // The engine's side: boxes of width 1 are refused, all else is taken.
    let engine = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Some(PromptRequest { stream, prompt, answer }) = prompts.recv().await {
            match prompt {
                Prompt::Box { bbox: BBox { width: 1, .. } } => answer.refuse("the box is too\nnarrow"),
                _ => answer.accept(),
            }
            taken.push((stream, prompt));
        }
        taken
    });
    let narrow = Prompt::Box { bbox: BBox { x: 1, y: 1, width: 1, height: 5 } };
    let points = Prompt::Points { positive: vec![[3, 4]], negative: vec![] };
    for (prompt, expected) in
        [(&points, Answer::Accepted), (&narrow, Answer::Refused("the box is too narrow".to_owned()))]
    {
        for site in [None, Some(site())] {
            assert_eq!(ask(&at, None, site.as_ref(), &stream("gate"), prompt, WITHIN).await.unwrap(), expected);
        }
    }
    let asker = asker(&at).await;
    let cbor = wire::encode(&points, Format::Cbor).unwrap();
    assert_eq!(get(&asker, key, Some(&cbor)).await.unwrap(), br#"{"accepted":true}"#);
    assert_eq!(outcomes("accepted"), 3);

    let large = vec![b' '; MAX_PROMPT_BYTES + 1];
    let refusals: [(&str, Option<&[u8]>, &str); 5] = [
        (key, None, "a prompt needs a payload"),
        (key, Some(b"hello"), "prompt refused: not a prompt: "),
        (key, Some(br#"{"kind":"reset","hard":true}"#), "prompt refused: not a prompt: unknown field `hard`"),
        (key, Some(&large), "prompt refused: 262145 bytes are more than the 262144 allowed"),
        ("maskd/v1/yard/*/prompt", Some(br#"{"kind":"reset"}"#), "a prompt is for one stream"),
    ];
    for (selector, payload, says) in refusals {
        let error = get(&asker, selector, payload).await.unwrap_err();
        assert!(error.starts_with(says) && !error.contains('\n'), "{error}");
    }
    assert_eq!(outcomes("refused"), 7);

    // A plain put does as well; nobody waits, so only the counters tell.
    asker.put(key, r#"{"kind":"reset"}"#).await.unwrap();
    asker.put(key, "nonsense").await.unwrap();
    eventually(|| (outcomes("accepted"), outcomes("refused")) == (4, 8)).await;

    asker.close().await.unwrap();
    drop(_gate);
    publisher.close().await;
    let taken = timeout(WITHIN, engine).await.expect("the prompts end with the session").unwrap();
    assert_eq!(taken.len(), 6);
    assert_eq!(taken[5], (stream("gate"), Prompt::Reset));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_that_cannot_wait_is_told_busy() {
    let (publisher, mut prompts, metrics, at) = open(config()).await;
    let _gate = publisher.stream(stream("gate")).await.unwrap();
    let asker = asker(&at).await;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..17 {
        let asker = asker.clone();
        asked.spawn(async move { get(&asker, "maskd/v1/yard/gate/prompt", Some(br#"{"kind":"reset"}"#)).await });
    }
    let first = timeout(WITHIN, asked.join_next()).await.unwrap().unwrap().unwrap();
    assert!(first.unwrap_err().starts_with("busy: 16 prompts are waiting"));
    assert_eq!(count(&metrics, "maskd_prompts_total{stream=\"gate\",cause=\"busy\"}"), 1);
    for _ in 0..16 {
        prompts.recv().await.unwrap().answer.accept();
    }
    while let Some(answer) = timeout(WITHIN, asked.join_next()).await.unwrap() {
        assert_eq!(answer.unwrap().unwrap(), br#"{"accepted":true}"#);
    }
    asker.close().await.unwrap();
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_answers_for_a_stream_that_is_not_there() {
    let (publisher, _prompts, _, at) = open(config()).await;
    let answer = ask(&at, None, None, &stream("porch"), &Prompt::Reset, Duration::from_secs(1)).await.unwrap();
    assert_eq!(answer, Answer::Nobody);
    publisher.close().await;
}

#[derive(Parser)]
struct PromptCommand {
    #[command(flatten)]
    args: cli::prompt::PromptArgs,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_sends_what_is_drawn_in_a_png() {
    let (publisher, mut prompts, _, at) = open(config()).await;
    let _gate = publisher.stream(stream("gate")).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let size = Size::new(7, 5);
    let labels = LabelMap { size, labels: (0..35).map(|i| (i % 3) as u8).collect() };
    let drawn: Vec<bool> = labels.labels.iter().map(|l| *l != 0).collect();
    let png = dir.path().join("mask.png");
    labels.write_png(&png).unwrap();
    let command = |more: &[&str]| {
        let args = ["maskd", "gate", "--connect", &at[0]].into_iter().chain(more.iter().copied());
        let args = PromptCommand::parse_from(args).args;
        tokio::task::spawn_blocking(move || cli::prompt::run(args).map_err(|e| e.to_string()))
    };
    // The site of another daemon: nobody answers there.
    let elsewhere = command(&["--reset", "--site", "elsewhere", "--timeout", "1"]);
    let error = timeout(WITHIN, elsewhere).await.unwrap().unwrap().unwrap_err();
    assert!(error.starts_with("stream gate did not answer at tcp/127.0.0.1:"), "{error}");

    for refusal in [None, Some("the stream has ended")] {
        let command = command(&["--mask", png.to_str().unwrap(), "--site", "yard"]);
        let PromptRequest { stream: asked, prompt, answer } = timeout(WITHIN, prompts.recv()).await.unwrap().unwrap();
        assert_eq!(asked, stream("gate"));
        assert_eq!(prompt, Prompt::Mask { mask: Rle::from_mask(size, &drawn) });
        match refusal {
            Some(why) => answer.refuse(why),
            None => answer.accept(),
        }
        let outcome = timeout(WITHIN, command).await.unwrap().unwrap();
        assert_eq!(outcome.err().as_deref(), refusal);
    }
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_above_every_limit_is_not_even_put_together() {
    let (publisher, mut prompts, metrics, at) = open(config()).await;
    let gate = publisher.stream(stream("gate")).await.unwrap();
    gate.publish_masks(&frame(1, Size::new(20, 10)), true, two_boxes()).await.unwrap();
    let refused = || count(&metrics, "maskd_prompts_total{stream=\"gate\",cause=\"refused\"}");
    // Each sender's query comes after its put, or not at all where its link was closed for it.
    for (factor, counted) in [(2, 1), (8, 1)] {
        let sender = asker(&at).await;
        sender.put("maskd/v1/yard/gate/prompt", vec![b' '; factor * MAX_PROMPT_BYTES]).await.unwrap();
        let replies = sender.get("maskd/v1/yard/gate/masks").timeout(Duration::from_secs(2)).await.unwrap();
        let _ = timeout(WITHIN, replies.recv_async()).await.unwrap();
        eventually(|| refused() >= counted).await;
        assert_eq!(refused(), counted, "{factor} times the limit");
        let _ = sender.close().await;
    }
    // The daemon is there for everybody else.
    let other = asker(&at).await;
    assert!(get(&other, "maskd/v1/yard/gate/masks", None).await.is_ok());
    assert!(prompts.try_recv().is_err());
    other.close().await.unwrap();
    publisher.close().await;
}

/// The documented way to let everybody watch and nobody prompt.
const WATCH_ONLY: &str = r#"{
  access_control: {
    enabled: true,
    default_permission: "allow",
    rules: [{ id: "no prompts", permission: "deny", flows: ["ingress"], messages: ["put", "query"],
              key_exprs: ["maskd/v1/*/*/prompt"] }],
    subjects: [{ id: "anybody" }],
    policies: [{ rules: ["no prompts"], subjects: ["anybody"] }],
  },
}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zenoh_file_can_forbid_prompts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zenoh.json5");
    std::fs::write(&file, WATCH_ONLY).unwrap();
    let (publisher, mut prompts, _, at) = open(PublishConfig { zenoh_config: Some(file), ..config() }).await;
    let gate = publisher.stream(stream("gate")).await.unwrap();
    gate.publish_masks(&frame(1, Size::new(20, 10)), true, two_boxes()).await.unwrap();
    let answer = ask(&at, None, None, &stream("gate"), &Prompt::Reset, Duration::from_secs(2)).await.unwrap();
    assert_eq!(answer, Answer::Unheard);
    let asker = asker(&at).await;
    asker.put("maskd/v1/yard/gate/prompt", r#"{"kind":"reset"}"#).await.unwrap();
    // Answered after the put was dropped: messages of one session arrive in order.
    assert!(get(&asker, "maskd/v1/yard/gate/masks", None).await.is_ok());
    assert!(prompts.try_recv().is_err(), "a forbidden prompt came through");
    asker.close().await.unwrap();
    publisher.close().await;
}
