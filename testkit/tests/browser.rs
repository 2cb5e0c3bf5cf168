//! The browser is driven as a person drives it: it clicks what can be seen and says what it saw.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes only the functions marked as tests for tests"
)]

use std::time::Duration;

use foredeck_testkit::browser::{Browser, Key, Page, Place};
use foredeck_testkit::toolbox::Chromium;

const SOON: Duration = Duration::from_secs(10);

/// A page with what pages have: a form, a button that is covered for a while, one that is not there, one that fails.
const PAGE: &str = "data:text/html;charset=utf-8,\
<title>t</title><form onsubmit='out.textContent=\"said \"+line.value;line.value=\"\";return false'>\
<label>Line <input id=line value=old></label></form>\
<button style='display:none'>Hidden</button>\
<button onclick='out.textContent=\"first\"'>Same</button>\
<div class=last><button onclick='out.textContent=\"last\"'>Same</button></div>\
<div style='position:relative'><button onclick='out.textContent=\"uncovered\"'>Covered</button>\
<div id=cover style='position:absolute;inset:0;background:gray'></div></div>\
<button onclick='setTimeout(()=>cover.remove(),300)'>Uncover</button>\
<button onclick='nobody.home()'>Fail</button>\
<p id=out>nothing yet</p>";

async fn open() -> Option<(Browser, Page)> {
    let chromium = Chromium::fetch().await.unwrap()?;
    let browser = Browser::start(&chromium).await.unwrap();
    let page = browser.open(PAGE, 800, 600).await.unwrap();
    Some((browser, page))
}

#[tokio::test]
async fn what_is_typed_and_clicked_arrives() {
    let Some((browser, page)) = open().await else {
        return;
    };
    page.see("nothing yet", SOON).await.unwrap();
    page.fill(&Place::field("Line"), "/deploy ünï <b>")
        .await
        .unwrap();
    page.press(Key::Enter).await.unwrap();
    page.see("said /deploy ünï <b>", SOON).await.unwrap();
    page.see_no_more("nothing yet", SOON).await.unwrap();
    page.click(&Place::button("Same")).await.unwrap();
    page.see("last", SOON).await.unwrap();
    page.click(&Place::button("Same").within("body"))
        .await
        .unwrap();
    assert!(!page.has(&Place::button("Hidden")).await);
    assert!(!page.has(&Place::button("Same").within(".nowhere")).await);
    assert_eq!(page.complaints(), Vec::<String>::new());
    let picture = page.picture().await.unwrap();
    assert!(picture.starts_with(b"\x89PNG"), "no PNG");
    // The size stands in the header, in big-endian.
    assert_eq!(picture[16..24], [0, 0, 3, 32, 0, 0, 2, 88]);
    browser.close().await.unwrap();
}

#[tokio::test]
async fn what_lies_under_something_is_clicked_only_when_it_no_longer_does() {
    let Some((_browser, page)) = open().await else {
        return;
    };
    page.click(&Place::button("Uncover")).await.unwrap();
    page.click(&Place::button("Covered")).await.unwrap();
    page.see("uncovered", SOON).await.unwrap();
}

#[tokio::test]
async fn what_goes_wrong_on_a_page_and_what_is_not_there_is_told() {
    let Some((_browser, page)) = open().await else {
        return;
    };
    page.click(&Place::button("Fail")).await.unwrap();
    foredeck_testkit::wait_for("a complaint", SOON, async || {
        let complaints = page.complaints().concat();
        anyhow::ensure!(complaints.contains("nobody is not defined"), "{complaints}");
        Ok(())
    })
    .await
    .unwrap();
    let error = page
        .see("a unicorn", Duration::from_millis(200))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("a unicorn") && error.contains("nothing yet"),
        "{error}"
    );
}
