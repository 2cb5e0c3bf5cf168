//! From a branch in a chat to the commit that Spinnaker gets: what was shown and approved is what runs, however the branch
//! moves meanwhile.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{Application, DeployRequest, deploy_request::Phase};
use foredeck_testkit::{
    gate::{ExpectedArtifact, Parameter, Pipeline, Stage},
    slack::{Ephemeral, Message},
    toolbox::{Github, Node},
    wait_for,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, CHANNEL, PATIENCE, shown};

const WORK: Duration = Duration::from_secs(1);
const IMAGE: &str = "registry.example/shop/checkout";
const ASK: &str = "/deploy checkout main to production";
/// What whoever may push could write.
const HOSTILE: &str = "<!channel> `*fix*` <https://evil.example|Spinnaker> \u{202e}";

fn short(commit: &str) -> &str {
    &commit[..7]
}

fn text(whisper: &Ephemeral) -> String {
    format!("{} {}", whisper.text, json!(whisper.blocks))
}

impl Bed {
    /// Checkout's repository at GitHub, which the controller and the receiver may read; and a pipeline that expects the image
    /// of a commit. Nothing where Node is left out.
    async fn repository(&self) -> Result<Option<Github>> {
        let Some(node) = Node::fetch().await? else {
            return Ok(None);
        };
        let github = Github::start(&node, "acme/checkout").await?;
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "github"}, "stringData": {"token": github.token()},
        }))?;
        self.api::<Secret>()
            .create(&PostParams::default(), &secret)
            .await?;
        let rules = json!([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["github"], "verbs": ["get"]}]);
        let accounts = ["foredeck-controller", "foredeck-receiver"].map(
            |name| json!({"kind": "ServiceAccount", "name": name, "namespace": "foredeck-system"}),
        );
        self.bind("repositories", rules, json!(accounts)).await?;
        let deploy = json!({
            "parameters": {"branch": "{{ commit }}"},
            "artifacts": [{"type": "docker/image", "name": IMAGE, "version": "{{ short_commit }}"}],
        });
        let repository =
            json!({"github": "acme/checkout", "apiUrl": github.url(), "secretName": "github"});
        let spec = json!({"spec": {"repository": repository, "actions": {"deploy": deploy}}});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&spec));
        self.api::<Application>()
            .patch("checkout", &parameters, &patch)
            .await?;
        self.gate.put_pipeline(
            Pipeline::new("checkout", "Deploy to production")
                .parameter(Parameter::new("account").required())
                .parameter(Parameter::new("namespace").required())
                .parameter(Parameter::new("branch").required())
                .expects(ExpectedArtifact::new(
                    "image",
                    "docker/image",
                    ".*/checkout",
                ))
                .stage(Stage::deploy("Deploy", WORK)),
        );
        Ok(Some(github))
    }

    /// The plan that alice gets, once it says all of that.
    async fn plan(&self, words: &[&str]) -> Result<Ephemeral> {
        let words = [&["plan-deploy"], words].concat();
        self.until_whispered("alice", &words).await
    }

    /// The question for an approval that says that, in whichever thread.
    async fn until_question(&self, word: &str) -> Result<Message> {
        wait_for(&format!("a question with {word}"), PATIENCE, async || {
            let mut all = self.slack.messages(CHANNEL);
            all.retain(|message| {
                let said = shown(message);
                message.is_reply() && said.contains("request-approve") && said.contains(word)
            });
            all.pop().context("none yet")
        })
        .await
    }

    /// The request of that commit, once there is one.
    async fn until_requested(&self, commit: &str) -> Result<DeployRequest> {
        wait_for(&format!("a request for {commit}"), PATIENCE, async || {
            let all = self.requests().await?;
            let named: Vec<Option<String>> =
                all.iter().map(|one| one.spec.commit.clone()).collect();
            let mut found = all.into_iter();
            let found = found.find(|one| one.spec.commit.as_deref() == Some(commit));
            found.with_context(|| format!("{named:?}"))
        })
        .await
    }

    /// Bob approves what is asked there, and it runs to its end: the trigger that Spinnaker got.
    async fn approved(&self, commit: &str) -> Result<(DeployRequest, Value)> {
        let name = self.until_requested(commit).await?.name_any();
        let question = self.until_question(short(commit)).await?;
        self.slack.user("bob").click(&question, "request-approve")?;
        let request = self.until_phase(&name, Phase::Succeeded).await?;
        let launches = self.gate.launches_of(&request.uid().unwrap_or_default());
        ensure!(launches.len() == 1, "{launches:?}");
        let execution = self.gate.execution(&launches[0].execution_id);
        let execution = execution.context("no execution")?;
        Ok((request, execution["trigger"].clone()))
    }
}

#[tokio::test]
async fn what_was_shown_and_approved_is_what_spinnaker_gets_however_the_branch_moves() -> Result<()>
{
    let bed = Bed::new("commits", WORK).await?;
    let Some(github) = bed.repository().await? else {
        return Ok(());
    };
    bed.guard("production").await?;
    let first = github.head("main").await?;
    let _roles = bed.all_roles().await?;
    let alice = bed.slack.user("alice");
    alice.command(CHANNEL, ASK)?;
    let plan = bed.plan(&[short(&first)]).await?;
    alice.click(&plan, "plan-deploy")?;
    let (_, trigger) = bed.approved(&first).await?;
    ensure!(trigger["parameters"]["branch"] == *first, "{trigger}");

    // It moves while she looks: nothing is created, and the plan is shown anew.
    let second = github.commit("main", HOSTILE, "Mallory").await?;
    alice.command(CHANNEL, ASK)?;
    let plan = bed.plan(&[short(&second), "1 commit", "Mallory"]).await?;
    for hostile in ["<!channel>", "<https://evil", "\u{202e}"] {
        ensure!(!text(&plan).contains(hostile), "{}", text(&plan));
    }
    let third = github.commit("main", "Third", "Ada").await?;
    alice.click(&plan, "plan-deploy")?;
    let moved = [short(&second), short(&third), "moved", "2 commits"];
    let plan = bed.plan(&moved).await?;
    ensure!(
        bed.requests().await?.len() == 1,
        "nothing was asked for yet"
    );

    // And it moves once more, while bob looks at what she confirmed.
    alice.click(&plan, "plan-deploy")?;
    bed.until_question(short(&third)).await?;
    let fourth = github.commit("main", "Fourth", "Ada").await?;
    let (request, trigger) = bed.approved(&third).await?;
    ensure!(trigger["parameters"]["branch"] == *third, "{trigger}");
    let image = json!([{"type": "docker/image", "name": IMAGE, "version": short(&third)}]);
    ensure!(trigger["artifacts"] == image, "{trigger}");
    let status = request.status.context("no status")?;
    let listed: Vec<String> = status
        .changes
        .iter()
        .flat_map(|changes| &changes.commits)
        .map(|commit| commit.sha.clone())
        .collect();
    assert_eq!(listed, [third.clone(), second]);

    let last = wait_for("the live message of its end", PATIENCE, async || {
        let told = bed.told();
        let last = told.last().map(shown).context("nothing was told")?;
        for words in [short(&third), "2 commits", "Third", "succeeded"] {
            ensure!(last.contains(words), "no {words} in {last}");
        }
        Ok(last)
    })
    .await?;
    ensure!(!last.contains(short(&fourth)), "{last}");
    alice.command(CHANNEL, "/deploy what production")?;
    bed.until_whispered(
        "alice",
        &["checkout", &format!("{IMAGE}:{}", short(&third)), "alice"],
    )
    .await?;
    let violations = bed.slack.violations();
    ensure!(violations.is_empty(), "{violations:?}");
    Ok(())
}
