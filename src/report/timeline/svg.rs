//! The timeline as a picture, as `systemd-analyze plot` draws a boot: one bar a step, the waits in it hatched and named
//! when they are pointed at, an axis, the budget, what failed in red.

use super::super::markup::Markup;
use super::super::words_of;
use super::{Bar, Timeline};

/// The picture's width, and where its parts are.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 118.0;
const RIGHT: f64 = 860.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;
/// So many steps are drawn.
const MOST_STEPS: usize = 64;
/// The narrowest bar.
const NARROWEST: f64 = 2.5;

/// What the picture looks like, for light and for dark surroundings.
pub const STYLE: &str = "\
.timeline{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;color-scheme:light dark}\
.timeline text{fill:#1f2328}.timeline .soft{fill:#59636e;font-size:11.5px}.timeline .bad{fill:#cf222e;font-weight:600}\
.timeline .head{font-size:16px;font-weight:600}.timeline .paper{fill:#fff}\
.timeline .lane{fill:#f6f8fa}.timeline .grid{stroke:#d1d9e0;stroke-width:1}\
.timeline .done{fill:#4f8fea}.timeline .running{fill:#8250df}.timeline .warned{fill:#d4a72c}\
.timeline .failed{fill:#cf222e}.timeline .stopped,.timeline .open{fill:#8c959f}.timeline .before{fill:#c9d1d9}\
.timeline .hatch{stroke:#fff;stroke-width:3.2;opacity:.72}\
.timeline .budget{stroke:#cf222e;stroke-width:1.5;stroke-dasharray:5 4}\
@media (prefers-color-scheme:dark){\
.timeline text{fill:#e6edf3}.timeline .soft{fill:#9198a1}.timeline .bad{fill:#ff7b72}.timeline .paper{fill:#0d1117}\
.timeline .lane{fill:#151b23}.timeline .grid{stroke:#30363d}\
.timeline .done{fill:#388bfd}.timeline .running{fill:#a371f7}.timeline .warned{fill:#d29922}\
.timeline .failed{fill:#f85149}.timeline .stopped,.timeline .open{fill:#6e7681}.timeline .before{fill:#3d444d}\
.timeline .hatch{stroke:#0d1117}.timeline .budget{stroke:#f85149}}";

/// A whole document.
pub(super) fn document(timeline: &Timeline) -> Markup {
    let mut out = Markup::default();
    let head = 64.0;
    let height = head + drawn_height(timeline) + 12.0;
    out.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    open(&mut out, height, timeline);
    out.raw("<style>").raw(STYLE).raw("</style>\n");
    out.raw("<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n");
    out.raw("<text class=\"head\" x=\"16\" y=\"28\">").short(&timeline.headline(), 100).raw("</text>\n");
    out.raw("<text class=\"soft\" x=\"16\" y=\"48\">").short(&subline(timeline), 140).raw("</text>\n");
    out.raw("<g transform=\"translate(0 ").number(head).raw(")\">\n");
    draw(&mut out, timeline);
    out.raw("</g>\n</svg>\n");
    out
}

/// The picture alone.
pub(super) fn drawing(timeline: &Timeline) -> Markup {
    let mut out = Markup::default();
    open(&mut out, drawn_height(timeline), timeline);
    draw(&mut out, timeline);
    out.raw("</svg>\n");
    out
}

fn open(out: &mut Markup, height: f64, timeline: &Timeline) {
    out.raw("<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"timeline\" role=\"img\" viewBox=\"0 0 ");
    out.number(WIDTH).raw(" ").number(height).raw("\" width=\"").number(WIDTH).raw("\" height=\"").number(height);
    out.raw("\">\n<title>").text(&timeline.headline()).raw("</title>\n");
    out.raw("<defs><pattern id=\"wait\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\"");
    out.raw(" patternTransform=\"rotate(45)\"><line class=\"hatch\" x1=\"0\" y1=\"0\" x2=\"0\" y2=\"7\"/></pattern></defs>\n");
}

fn subline(timeline: &Timeline) -> String {
    let mut parts = Vec::new();
    parts.extend(timeline.run.as_ref().map(|run| format!("run {run}")));
    parts.extend(timeline.started.as_ref().map(|at| format!("started {at}")));
    parts.extend(timeline.uptime_ms.map(|ms| format!("{} after the kernel", words_of(ms))));
    parts.join(", ")
}

fn rows(timeline: &Timeline) -> usize {
    timeline.steps.len().min(MOST_STEPS) + usize::from(timeline.before_ms() > 0)
}

fn drawn_height(timeline: &Timeline) -> f64 {
    26.0 + rows(timeline) as f64 * ROW + 40.0
}

/// From milliseconds since the axis begins to places.
struct Scale {
    span: f64,
}

impl Scale {
    fn x(&self, ms: u64) -> f64 {
        LEFT + (ms as f64 / self.span).clamp(0.0, 1.0) * (RIGHT - LEFT)
    }
}

fn draw(out: &mut Markup, timeline: &Timeline) {
    let before = timeline.before_ms();
    let whole = before.saturating_add(timeline.took_ms).max(1) as f64;
    // The run's budget counts from its own beginning. Where it is far away, its place is told in words.
    let budget = (timeline.budget_ms > 0).then(|| before.saturating_add(timeline.budget_ms));
    let near = budget.filter(|at| (*at as f64) <= whole * 1.6);
    let scale = Scale { span: near.map_or(whole, |at| whole.max(at as f64 * 1.03)) };
    let bottom = 22.0 + rows(timeline) as f64 * ROW;
    lanes(out, timeline);
    axis(out, &scale, bottom);
    let mut y = 22.0;
    if before > 0 {
        label(out, "before the run", "soft", y);
        out.raw("<g><title>from the kernel's start to the run: ").text(&words_of(before)).raw("</title>");
        rect(out, "before", scale.x(0), scale.x(before), y);
        out.raw("</g>\n");
        took(out, &words_of(before), y);
        y += ROW;
    }
    for step in timeline.steps.iter().take(MOST_STEPS) {
        bar(out, &scale, before, step, y);
        y += ROW;
    }
    foot(out, timeline, &scale, near, budget, bottom);
}

fn lanes(out: &mut Markup, timeline: &Timeline) {
    for row in (0..rows(timeline)).step_by(2) {
        let y = 22.0 + row as f64 * ROW;
        out.raw("<rect class=\"lane\" x=\"0\" width=\"960\" height=\"30\" y=\"").number(y).raw("\"/>");
    }
    out.raw("\n");
}

fn axis(out: &mut Markup, scale: &Scale, bottom: f64) {
    let every = tick(scale.span);
    let mut at = 0;
    while at as f64 <= scale.span {
        let x = scale.x(at);
        out.raw("<line class=\"grid\" y1=\"18\" x1=\"").number(x).raw("\" x2=\"").number(x).raw("\" y2=\"");
        out.number(bottom).raw("\"/><text class=\"soft\" text-anchor=\"middle\" y=\"12\" x=\"").number(x).raw("\">");
        out.text(&moment(at)).raw("</text>\n");
        at = at.saturating_add(every);
    }
}

/// The distance of two marks on the axis, milliseconds: at most nine of them.
fn tick(span: f64) -> u64 {
    const NICE: [u64; 19] = [
        1, 10, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000,
        1_800_000, 3_600_000, 7_200_000,
    ];
    let nice = NICE.into_iter().find(|every| span / *every as f64 <= 9.0);
    nice.unwrap_or((span / 8.0).min(u64::MAX as f64 / 16.0) as u64).max(1)
}

/// `0`, `0.5 s`, `20 s`, `1 min 30 s`, `2 h`.
fn moment(ms: u64) -> String {
    let (seconds, rest) = (ms / 1000, ms % 1000);
    match seconds {
        _ if ms == 0 => "0".into(),
        0 => format!("{ms} ms"),
        1..60 if rest > 0 => format!("{}.{} s", seconds, rest / 100),
        1..60 => format!("{seconds} s"),
        60..3600 if seconds % 60 > 0 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        60..3600 => format!("{} min", seconds / 60),
        _ if seconds % 3600 >= 60 => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn bar(out: &mut Markup, scale: &Scale, before: u64, step: &Bar, y: f64) {
    label(out, &step.name, if step.state == "failed" { "bad" } else { "name" }, y);
    let Some(began) = step.began_ms else {
        out.raw("<text class=\"soft\" x=\"").number(LEFT + 8.0).raw("\" y=\"").number(y + 19.0).raw("\">");
        out.raw(match step.state {
            "skipped" => "skipped",
            _ => "not begun",
        });
        if !step.detail.is_empty() {
            out.raw(": ").short(&step.detail, 100);
        }
        out.raw("</text>\n");
        return;
    };
    let at = |ms: u64| scale.x(before.saturating_add(ms));
    let end = began.saturating_add(step.took_ms);
    out.raw("<g><title>").text(&step.name).raw(", ").text(step.state).raw(", ").text(&words_of(step.took_ms));
    if !step.detail.is_empty() {
        out.raw(": ").short(&step.detail, 400);
    }
    out.raw("</title>");
    let class = match step.state {
        state @ ("running" | "warned" | "failed" | "stopped" | "open") => state,
        _ => "done",
    };
    let (from, to) = (at(began), at(end).max(at(began) + NARROWEST));
    rect(out, class, from, to, y);
    out.raw("</g>");
    for wait in step.waits.iter().filter(|wait| wait.took_ms() > 0) {
        out.raw("<g><title>").text(&words_of(wait.took_ms())).raw(" waiting for ").short(&wait.words(), 400);
        out.raw("</title><rect fill=\"url(#wait)\" height=\"18\" y=\"").number(y + (ROW - BAR) / 2.0).raw("\" x=\"");
        let from = at(wait.from_ms);
        let to = at(wait.to_ms.unwrap_or(wait.from_ms));
        out.number(from).raw("\" width=\"").number((to - from).max(0.1)).raw("\"/></g>");
    }
    took(out, &words_of(step.took_ms), y);
    out.raw("\n");
}

fn rect(out: &mut Markup, class: &'static str, from: f64, to: f64, y: f64) {
    out.raw("<rect rx=\"3\" height=\"18\" class=\"").raw(class).raw("\" x=\"").number(from).raw("\" y=\"");
    out.number(y + (ROW - BAR) / 2.0).raw("\" width=\"").number((to - from).max(NARROWEST)).raw("\"/>");
}

fn label(out: &mut Markup, name: &str, class: &'static str, y: f64) {
    out.raw("<text text-anchor=\"end\" class=\"")
        .raw(class)
        .raw("\" x=\"")
        .number(LEFT - 10.0)
        .raw("\" y=\"")
        .number(y + 19.5)
        .raw("\">");
    out.short(name, 14).raw("</text>");
}

fn took(out: &mut Markup, words: &str, y: f64) {
    out.raw("<text class=\"soft\" text-anchor=\"end\" x=\"").number(WIDTH - 12.0).raw("\" y=\"").number(y + 19.5);
    out.raw("\">").text(words).raw("</text>");
}

fn foot(out: &mut Markup, timeline: &Timeline, scale: &Scale, near: Option<u64>, budget: Option<u64>, bottom: f64) {
    if let Some(at) = near {
        let x = scale.x(at);
        out.raw("<line class=\"budget\" y1=\"18\" x1=\"").number(x).raw("\" x2=\"").number(x).raw("\" y2=\"");
        out.number(bottom + 4.0).raw("\"/><text class=\"soft\" text-anchor=\"middle\" x=\"").number(x).raw("\" y=\"");
        out.number(bottom + 17.0).raw("\">budget</text>\n");
    }
    let y = bottom + 24.0;
    let mut x = LEFT;
    let failed = timeline.steps.iter().any(|step| step.state == "failed");
    let warned = timeline.steps.iter().any(|step| step.state == "warned");
    let marks: [(bool, &'static str, &'static str, f64); 5] = [
        (true, "done", "at work", 84.0),
        (true, "wait", "waiting", 84.0),
        (warned, "warned", "with a warning", 122.0),
        (failed, "failed", "failed", 72.0),
        (timeline.before_ms() > 0, "before", "since the kernel's start", 160.0),
    ];
    for (_, class, words, wide) in marks.into_iter().filter(|(there, ..)| *there) {
        let fill = if class == "wait" { "done" } else { class };
        out.raw("<rect rx=\"2\" width=\"14\" height=\"12\" class=\"").raw(fill).raw("\" x=\"").number(x).raw("\" y=\"");
        out.number(y - 1.0).raw("\"/>");
        if class == "wait" {
            out.raw("<rect width=\"14\" height=\"12\" fill=\"url(#wait)\" x=\"").number(x).raw("\" y=\"");
            out.number(y - 1.0).raw("\"/>");
        }
        out.raw("<text class=\"soft\" x=\"").number(x + 20.0).raw("\" y=\"").number(y + 9.5).raw("\">");
        out.raw(words).raw("</text>");
        x += wide;
    }
    if let (Some(_), None) = (budget, near) {
        out.raw("<text class=\"soft\" text-anchor=\"end\" x=\"").number(WIDTH - 12.0).raw("\" y=\"").number(y + 9.5);
        out.raw("\">budget ").text(&words_of(timeline.budget_ms)).raw(", far to the right</text>");
    }
    out.raw("\n");
}
