//! Pipelines as an Application's status can hold them. Touches nothing.
//!
//! The schema bounds each text and list, but all of them at their bounds would be hundreds of megabytes, and etcd takes
//! one and a half. So there is a bound on the whole too, kept by showing less of everything.

use crate::api::{
    application::{ParameterDescription, PipelineDescription},
    bounds,
};

/// How much JSON all descriptions may be. Kubernetes writes some characters in six bytes that we write in one.
const BYTES: usize = 200_000;

/// How much of each is shown.
struct Level {
    text: usize,
    options: usize,
    parameters: usize,
    problem: usize,
}

/// From all that the schema takes to what fits however many pipelines there are.
const LEVELS: [Level; 4] = [
    Level {
        text: bounds::VALUE,
        options: bounds::OPTIONS,
        parameters: bounds::PARAMETERS,
        problem: bounds::MESSAGE,
    },
    Level {
        text: 256,
        options: 40,
        parameters: bounds::PARAMETERS,
        problem: 512,
    },
    Level {
        text: 64,
        options: 10,
        parameters: 32,
        problem: 256,
    },
    Level {
        text: 0,
        options: 0,
        parameters: 0,
        problem: 256,
    },
];

/// As much of the descriptions as a status can hold. What is left out is marked as incomplete.
pub fn fitted(mut all: Vec<PipelineDescription>) -> Vec<PipelineDescription> {
    all.truncate(bounds::PIPELINES);
    for level in &LEVELS {
        all = all.into_iter().map(|one| pipeline(one, level)).collect();
        let length = serde_json::to_vec(&all).map_or(usize::MAX, |json| json.len());
        if length <= BYTES {
            break;
        }
    }
    all
}

fn pipeline(description: PipelineDescription, level: &Level) -> PipelineDescription {
    let count = description.parameters.len();
    let parameters: Vec<ParameterDescription> = description
        .parameters
        .into_iter()
        // A name that is cut is another name.
        .filter(|parameter| parameter.name.chars().count() <= bounds::NAME)
        .take(level.parameters)
        .map(|one| parameter(one, level))
        .collect();
    PipelineDescription {
        incomplete: description.incomplete || parameters.len() < count,
        parameters,
        problem: description
            .problem
            .map(|problem| bounds::cut(&problem, level.problem)),
        ..description
    }
}

fn parameter(description: ParameterDescription, level: &Level) -> ParameterDescription {
    let fits = |text: &String| text.chars().count() <= level.text;
    let count = description.options.len();
    let options: Vec<String> = description
        .options
        .into_iter()
        .filter(fits)
        .take(level.options)
        .collect();
    let cut = description
        .default
        .as_ref()
        .is_some_and(|default| !fits(default));
    ParameterDescription {
        incomplete: description.incomplete || cut || options.len() < count,
        options,
        description: description
            .description
            .map(|text| bounds::cut(&text, level.text)),
        default: description
            .default
            .map(|text| bounds::cut(&text, level.text)),
        ..description
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn big(parameters: usize, options: usize, length: usize, text: &str) -> PipelineDescription {
        let text = text.repeat(length);
        PipelineDescription {
            action: "deploy".to_owned(),
            environment: "staging".to_owned(),
            name: "Deploy".to_owned(),
            problem: Some(text.clone()),
            parameters: (0..parameters)
                .map(|number| ParameterDescription {
                    name: format!("parameter-{number}"),
                    description: Some(text.clone()),
                    default: Some(text.clone()),
                    options: (0..options)
                        .map(|option| format!("{option}{text}"))
                        .collect(),
                    ..ParameterDescription::default()
                })
                .collect(),
            ..PipelineDescription::default()
        }
    }

    fn length(all: &[PipelineDescription]) -> usize {
        serde_json::to_vec(all).unwrap().len()
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let small = vec![big(3, 4, 20, "x"); 5];
        assert_eq!(fitted(small.clone()), small);
    }

    #[test]
    fn however_much_there_is_it_fits_and_says_that_it_is_not_all() {
        for text in ["x", "\u{1}", "ü", "😀", "<"] {
            for (pipelines, parameters, options) in [(1, 500, 3), (150, 70, 0)] {
                let all = fitted(vec![big(parameters, options, 100, text); pipelines]);
                assert!(all.len() <= bounds::PIPELINES);
                assert!(
                    length(&all) <= BYTES,
                    "{text} {pipelines}: {}",
                    length(&all)
                );
                assert!(all.iter().all(|one| one.incomplete), "{text} {pipelines}");
            }
        }
    }

    #[test]
    fn an_option_or_a_name_is_whole_or_not_there() {
        let mut one = big(1, 2, 1, "x");
        one.parameters[0]
            .options
            .push("y".repeat(bounds::VALUE + 1));
        one.parameters.push(ParameterDescription {
            name: "n".repeat(bounds::NAME + 1),
            ..ParameterDescription::default()
        });
        let [one] = fitted(vec![one]).try_into().unwrap();
        assert!(one.incomplete);
        let [parameter] = one.parameters.try_into().unwrap();
        assert!(parameter.incomplete);
        assert_eq!(parameter.options, ["0x", "1x"]);
    }
}
