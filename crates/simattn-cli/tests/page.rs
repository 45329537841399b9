//! The page of a study in a browser: no text lies over another, whatever the width and the colours.
//!
//! The test needs a Chromium: the one that `CHROMIUM` names, or one on the path. Without any it
//! says so and ends.

use std::fs;
use std::path::Path;
use std::process::Command;

use simattn_cli::machine;
use simattn_cli::study::report;
use simattn_cli::study::results;
use simattn_cli::study::results::{RateSearch, RateTry, RunStatus, StudyResults};

#[allow(dead_code)]
#[path = "../src/study/synthetic.rs"]
mod synthetic;

/// Collects every visible piece of text in the frame and writes down the pairs that overlap.
const COLLECT: &str = r#"
window.onload = () => {
  const frame = document.getElementById('page').contentWindow, page = frame.document;
  page.querySelectorAll('details').forEach(closed => closed.open = true);
  const walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT), boxes = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.data.trim() || node.parentElement.closest('title, style')) continue;
    // What a wide table scrolls away is not seen.
    const clip = node.parentElement.closest('.wide')?.getBoundingClientRect();
    const range = page.createRange();
    range.selectNodeContents(node);
    for (const whole of range.getClientRects()) {
      const box = { left: whole.left, right: whole.right, top: whole.top, bottom: whole.bottom };
      if (clip) {
        box.left = Math.max(box.left, clip.left);
        box.right = Math.min(box.right, clip.right);
        box.top = Math.max(box.top, clip.top);
        box.bottom = Math.min(box.bottom, clip.bottom);
      }
      if (box.left < box.right && box.top < box.bottom)
        boxes.push({ node, box, text: node.data.trim() });
    }
  }
  boxes.sort((a, b) => a.box.top - b.box.top);
  const overlaps = [];
  for (let i = 0; i < boxes.length; i++) {
    for (let j = i + 1; j < boxes.length && boxes[j].box.top < boxes[i].box.bottom; j++) {
      const [a, b] = [boxes[i].box, boxes[j].box];
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      // Line boxes leave room above and below the letters.
      if (boxes[i].node !== boxes[j].node && wide > 0.5 && high > 2)
        overlaps.push(`${boxes[i].text} | ${boxes[j].text} (${wide.toFixed(1)} x ${high.toFixed(1)})`);
    }
  }
  const outside = [...page.querySelectorAll('svg[role=img]')].flatMap(svg => {
    const frame = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('text')].filter(text => {
      const box = text.getBoundingClientRect();
      return box.left < frame.left - 1 || box.right > frame.right + 1;
    }).map(text => `${text.textContent} leaves its figure`);
  });
  document.getElementById('found').textContent = JSON.stringify({
    width: frame.innerWidth,
    dark: frame.matchMedia('(prefers-color-scheme: dark)').matches,
    texts: boxes.length,
    scrolls: page.documentElement.scrollWidth > frame.innerWidth,
    overlaps: overlaps.concat(outside),
  });
};
"#;

fn chromium() -> Option<String> {
    let named = std::env::var("CHROMIUM").ok();
    let known = ["chromium", "chromium-browser", "google-chrome", "chrome"].map(str::to_owned);
    named.into_iter().chain(known).find(|name| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    })
}

/// What a browser found on `page` at a width in pixels, in the light or the dark scheme.
fn seen(browser: &str, folder: &Path, page: &str, width: u32, scheme: &str) -> serde_json::Value {
    let host = format!(
        "<!DOCTYPE html><html><head><meta charset=\"utf-8\"/></head><body>\
         <iframe id=\"page\" width=\"{width}\" height=\"4000\" style=\"border:0;color-scheme:{scheme}\" \
         srcdoc=\"{}\"></iframe><pre id=\"found\"></pre><script>{COLLECT}</script></body></html>",
        page.replace('&', "&amp;").replace('"', "&quot;")
    );
    let path = folder.join(format!("{width}-{scheme}.html"));
    fs::write(&path, host).expect("a file");
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!(
            "--user-data-dir={}",
            folder.join("profile").display()
        ))
        .arg(format!("file://{}", path.display()))
        .output()
        .expect("the browser runs");
    let dom = String::from_utf8_lossy(&output.stdout);
    let start = dom.rfind("<pre id=\"found\">").expect("the host page") + 16;
    let end = start + dom[start..].find("</pre>").expect("the host page");
    let json = dom[start..end]
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// Studies whose pages are hard to lay out, and the ordinary one.
fn studies() -> [(&'static str, StudyResults); 3] {
    let mut crowded = synthetic::study(3);
    for (index, variant) in crowded.variants.clone().into_iter().enumerate() {
        let mut twin = variant;
        twin.name = format!("{}:heads=6", twin.name);
        twin.label = format!("{} heads only, κ {index}, H′ 12", twin.label);
        for run in &mut twin.runs {
            run.evaluations
                .iter_mut()
                .for_each(|point| point.loss += 1e-3 * index as f64);
        }
        crowded.variants.push(twin);
    }
    for (index, variant) in crowded.variants.iter_mut().enumerate() {
        variant.step_seconds = vec![0.1 + 0.01 * index as f64; 3];
        variant.rate_search = Some(RateSearch {
            seed: 99,
            steps: 100,
            tries: [(5e-4, 1.6), (1e-3, 1.5), (2e-3, 1.55)]
                .map(|(learning_rate, loss)| RateTry {
                    learning_rate,
                    loss: loss + 1e-3 * index as f64,
                })
                .to_vec(),
        });
    }
    let mut failed = synthetic::study(1);
    failed.variants[6].runs[0].status = RunStatus::Failed {
        reason: "the loss is not a number".to_owned(),
    };
    for point in &mut failed.variants[2].runs[0].evaluations {
        point.loss *= 40.0;
    }
    [
        ("three seeds", synthetic::study(3)),
        ("fourteen variants", crowded),
        ("a failed run, one far above", failed),
    ]
}

#[test]
fn no_text_lies_over_another() {
    let Some(browser) = chromium() else {
        eprintln!("skipped: no Chromium on the path, and CHROMIUM names none");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, study) in studies() {
        let page = report::html(&study);
        for width in [1280, 390] {
            for scheme in ["light", "dark"] {
                let seen = seen(&browser, folder.path(), &page, width, scheme);
                let at = format!("{name}, {width} pixels, {scheme}");
                assert_eq!(seen["width"], width, "{at}");
                assert_eq!(seen["dark"], scheme == "dark", "{at}");
                assert!(
                    seen["texts"].as_u64() > Some(500),
                    "{at}: {}",
                    seen["texts"]
                );
                assert_eq!(
                    seen["scrolls"], false,
                    "{at}: the page is wider than the window"
                );
                let overlaps = seen["overlaps"].as_array().expect("a list");
                assert!(overlaps.is_empty(), "{at}: {overlaps:#?}");
            }
        }
    }
}

#[test]
fn overlapping_text_is_seen() {
    let Some(browser) = chromium() else {
        eprintln!("skipped: no Chromium on the path, and CHROMIUM names none");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let page = report::html(&synthetic::study(1)).replace(
        "</body>",
        "<svg role=\"img\" viewBox=\"0 0 99 40\"><text x=\"5\" y=\"20\">one</text>\
         <text x=\"9\" y=\"20\">other</text></svg></body>",
    );
    let seen = seen(&browser, folder.path(), &page, 1280, "light");
    assert_eq!(
        seen["overlaps"].as_array().map(Vec::len),
        Some(1),
        "{}",
        seen["overlaps"]
    );
}
