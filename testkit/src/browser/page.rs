//! One page: what it says, and what a person does to it. Touches the browser.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::devtools::DevTools;
use crate::wait_for;

/// How long something may take to be there before it is clicked or typed into.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something to click or to type into: a role as a screen reader tells it, such as `button`, and a name, as a screen reader
/// tells it or as it is written there.
#[derive(Debug, Clone)]
pub struct Place {
    role: String,
    name: String,
    within: Option<String>,
}

impl Place {
    /// By role and exact name.
    pub fn new(role: &str, name: &str) -> Self {
        Self {
            role: role.to_owned(),
            name: name.to_owned(),
            within: None,
        }
    }

    /// A button by its label.
    pub fn button(name: &str) -> Self {
        Self::new("button", name)
    }

    /// A field to type into, by its label.
    pub fn field(name: &str) -> Self {
        Self::new("textbox", name)
    }

    /// Only inside of the last element that this CSS selector finds.
    #[must_use]
    pub fn within(mut self, selector: &str) -> Self {
        self.within = Some(selector.to_owned());
        self
    }
}

/// A page in its own tab.
#[derive(Debug, Clone)]
pub struct Page {
    devtools: DevTools,
    session: String,
}

impl Page {
    pub(super) fn new(devtools: DevTools, session: &str) -> Self {
        Self {
            devtools,
            session: session.to_owned(),
        }
    }

    pub(super) async fn prepare(&self, width: u32, height: u32) -> Result<()> {
        for domain in ["Page", "Runtime", "Log", "DOM", "Accessibility"] {
            self.call(&format!("{domain}.enable"), json!({})).await?;
        }
        let window =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", window)
            .await?;
        Ok(())
    }

    async fn call(&self, method: &str, parameters: Value) -> Result<Value> {
        self.devtools
            .call(Some(&self.session), method, parameters)
            .await
    }

    /// Loads another page in its place.
    ///
    /// # Errors
    /// When nobody answers there.
    pub async fn go(&self, url: &str) -> Result<()> {
        let answer = self.call("Page.navigate", json!({"url": url})).await?;
        if let Some(error) = answer["errorText"].as_str() {
            bail!("cannot open {url}: {error}");
        }
        wait_for("the page to load", PATIENCE, async || {
            let state = self
                .evaluate("document.readyState + ' ' + location.href")
                .await?;
            let state = state.as_str().unwrap_or_default();
            ensure!(
                state.starts_with("complete") && !state.ends_with("about:blank"),
                "it is {state}"
            );
            Ok(())
        })
        .await
    }

    /// The value of a JavaScript expression, awaited if it is a promise.
    pub async fn evaluate(&self, expression: &str) -> Result<Value> {
        let parameters =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", parameters).await?;
        if let Some(exception) = answer.get("exceptionDetails") {
            bail!("{expression}: {exception}");
        }
        Ok(answer["result"]["value"].take())
    }

    /// What a person can read on it.
    pub async fn text(&self) -> Result<String> {
        let text = self.evaluate("document.body.innerText").await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until it can be read on the page; else fails with all that can be read.
    pub async fn see(&self, text: &str, deadline: Duration) -> Result<()> {
        wait_for(&format!("{text:?} on the page"), deadline, async || {
            let there = self.text().await?;
            ensure!(there.contains(text), "the page says:\n{there}");
            Ok(())
        })
        .await
    }

    /// Waits until it can no longer be read on the page.
    pub async fn see_no_more(&self, text: &str, deadline: Duration) -> Result<()> {
        wait_for(&format!("no {text:?} on the page"), deadline, async || {
            let there = self.text().await?;
            ensure!(!there.contains(text), "the page says:\n{there}");
            Ok(())
        })
        .await
    }

    /// Clicks the last of what answers to the place, where a person would: in its middle, with the mouse.
    ///
    /// Waits for it to be there. Fails when something else lies above it.
    pub async fn click(&self, place: &Place) -> Result<()> {
        wait_for(&format!("a click on {place:?}"), PATIENCE, async || {
            let node = self.find(place).await?;
            let (x, y) = self.middle(node).await?;
            ensure!(self.on_top(node, x, y).await?, "something lies above it");
            for (kind, buttons) in [("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)] {
                let button = if kind == "mouseMoved" { "none" } else { "left" };
                self.call(
                    "Input.dispatchMouseEvent",
                    json!({"type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1}),
                )
                .await?;
            }
            Ok(())
        })
        .await
    }

    /// Types into a field what a person would, in the place of what is there.
    pub async fn fill(&self, place: &Place, text: &str) -> Result<()> {
        wait_for(&format!("to type into {place:?}"), PATIENCE, async || {
            let node = self.find(place).await?;
            self.call("DOM.focus", json!({"backendNodeId": node}))
                .await?;
            self.evaluate("document.activeElement.select && document.activeElement.select()")
                .await?;
            Ok(())
        })
        .await?;
        self.call("Input.insertText", json!({"text": text})).await?;
        Ok(())
    }

    /// Presses a key in whatever has the focus.
    pub async fn press(&self, key: Key) -> Result<()> {
        let (key, code, text) = match key {
            Key::Enter => ("Enter", 13, "\r"),
            Key::Escape => ("Escape", 27, ""),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Whether something that can be seen answers to the place now.
    pub async fn has(&self, place: &Place) -> bool {
        self.find(place).await.is_ok()
    }

    /// A picture of what the window shows, as PNG, with the mouse out of the way.
    pub async fn picture(&self) -> Result<Vec<u8>> {
        let away = json!({"type": "mouseMoved", "x": 0, "y": 0});
        self.call("Input.dispatchMouseEvent", away).await?;
        let picture = self
            .call("Page.captureScreenshot", json!({"format": "png"}))
            .await?;
        let data = picture["data"].as_str().context("no picture")?;
        STANDARD.decode(data).context("the picture is no Base64")
    }

    /// What went wrong on the page so far: uncaught exceptions, errors on its console, requests that failed.
    pub fn complaints(&self) -> Vec<String> {
        self.devtools.complaints(&self.session)
    }

    /// The last node that answers to the place and can be seen.
    async fn find(&self, place: &Place) -> Result<i64> {
        let root = match &place.within {
            None => "document".to_owned(),
            Some(selector) => format!("[...document.querySelectorAll({})].at(-1)", json!(selector)),
        };
        let root = self
            .call("Runtime.evaluate", json!({"expression": root}))
            .await?;
        let object = root["result"]["objectId"]
            .as_str()
            .with_context(|| format!("there is no {:?}", place.within))?;
        let found = self
            .call(
                "Accessibility.queryAXTree",
                json!({"objectId": object, "role": place.role}),
            )
            .await?;
        let nodes = found["nodes"].as_array().map_or(&[][..], Vec::as_slice);
        let mut others = Vec::new();
        for node in nodes.iter().rev() {
            let Some(id) = node["backendDOMNodeId"].as_i64() else {
                continue;
            };
            // A label's name has the space before what it labels.
            let name = node["name"]["value"].as_str().unwrap_or_default().trim();
            let named = name == place.name || self.label(id).await? == place.name;
            if named && node["ignored"] != true && self.middle(id).await.is_ok() {
                return Ok(id);
            }
            others.push(name);
        }
        bail!(
            "of {others:?}, none is it and can be seen; the page says:\n{}",
            self.text().await?
        )
    }

    /// Scrolls a node into view and gives the middle of what is seen of it.
    async fn middle(&self, node: i64) -> Result<(f64, f64)> {
        self.call("DOM.scrollIntoViewIfNeeded", json!({"backendNodeId": node}))
            .await?;
        let quads = self
            .call("DOM.getContentQuads", json!({"backendNodeId": node}))
            .await?;
        let quad: Vec<f64> = quads["quads"][0]
            .as_array()
            .context("it is not shown")?
            .iter()
            .filter_map(Value::as_f64)
            .collect();
        let [x1, y1, _, _, x2, y2, ..] = quad[..] else {
            bail!("it is not shown");
        };
        ensure!(x2 > x1 && y2 > y1, "it has no extent");
        Ok((f64::midpoint(x1, x2), f64::midpoint(y1, y2)))
    }

    /// What is written on a node.
    async fn label(&self, node: i64) -> Result<String> {
        let function = "function() { return (this.innerText || '').trim() }";
        let label = self.apply(node, function, json!([])).await?;
        Ok(label.as_str().unwrap_or_default().to_owned())
    }

    /// Whether a click at that point reaches the node.
    async fn on_top(&self, node: i64, x: f64, y: f64) -> Result<bool> {
        let function = "function(x, y) { return this.contains(document.elementFromPoint(x, y)) }";
        let point = json!([{"value": x}, {"value": y}]);
        Ok(self.apply(node, function, point).await? == true)
    }

    /// Calls a JavaScript function with a node as `this`.
    async fn apply(&self, node: i64, function: &str, arguments: Value) -> Result<Value> {
        let resolved = self
            .call("DOM.resolveNode", json!({"backendNodeId": node}))
            .await?;
        let parameters = json!({
            "objectId": resolved["object"]["objectId"], "functionDeclaration": function,
            "arguments": arguments, "returnByValue": true,
        });
        let mut answer = self.call("Runtime.callFunctionOn", parameters).await?;
        Ok(answer["result"]["value"].take())
    }
}

/// A key that does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Sends what was typed.
    Enter,
    /// Closes what lies above.
    Escape,
}
