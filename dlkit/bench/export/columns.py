"""What the tables of an export have: each column with its kind, its unit and its meaning."""

from typing import Literal, NamedTuple, get_args

__all__ = ["HYPERPARAMETER", "KINDS", "TABLES", "Column", "Described", "Kind"]

Kind = Literal["text", "integer", "number", "boolean"]
KINDS: tuple[Kind, ...] = get_args(Kind)
HYPERPARAMETER = "hyperparameter_"  # what the columns of hyperparameters begin with


class Column(NamedTuple):
    """A column.

    Attributes:
        name: in the table's head.
        kind: of its values. An integer or a boolean may be missing; a text that is missing is empty.
        unit: of numbers; empty where they have none.
        text: what it says.
        holds_nan: whether NaN is a value, such as a curve's where it diverged; in others it is a missing number.
    """

    name: str
    kind: Kind
    unit: str
    text: str
    holds_nan: bool = False


class Described(NamedTuple):
    """A table's columns.

    Attributes:
        text: what a row is.
        columns: in their order.
        has_hyperparameters: whether a column for each hyperparameter follows them.
    """

    text: str
    columns: tuple[Column, ...]
    has_hyperparameters: bool = False


def _columns(text: str) -> tuple[Column, ...]:
    """Columns from lines `name | kind | unit | text`; `name*` has an interval: name, name_low and name_high."""
    found = []
    for line in filter(str.strip, text.splitlines()):
        name, kind, unit, says = (part.strip() for part in line.split("|"))
        assert kind in KINDS, line
        found.append(Column(name.rstrip("*"), kind, unit, says))
        if name.endswith("*"):
            for end, which in (("low", "lower"), ("high", "upper")):
                found.append(Column(f"{name[:-1]}_{end}", kind, unit, f"{which} end of the interval of {name[:-1]}"))
    return tuple(found)


CELL = """
problem | text | | the problem's name
optimizer | text | | the contender's label
"""
TRIAL = """
trial | text | | the trial's id, a hash of its content
problem | text | | the problem's name
optimizer | text | | the contender's label
study | integer | | which of the repeated tunings, from 0
stage | text | | tuning, final, or target: a baseline that set the targets
seed | integer | | of initial parameters, data order and split; contenders share them
"""

TABLES: dict[str, Described] = {
    "problems": Described(
        "a problem",
        _columns("""
        problem | text | | the problem's name
        metric | text | | the judged metric
        label | text | | how figures call it
        direction | text | | lower or higher is better
        scale | text | | linear, or log where ratios count
        floor | number | of the metric | what is smaller is rounding
        target | number | of the metric | the hardest target
        targets_from | text | | where targets come from
        margin | number | of the metric, or a ratio on a log scale | differences up to it do not matter
        axis | text | | what the budget is counted in
        budget | number | of the axis | of a trial
        batch_size | integer | examples | of a step; missing where all are taken
        train_examples | integer | examples | trained on
        validation_examples | integer | examples | selected on
        test_examples | integer | examples | judged on
        judged_on | text | | test, or objective where nothing is held out
        splits_anew | boolean | | whether each study splits the examples anew
        data_source | text | | where the data come from
        data_digest | text | | their hash
        description | text | | one line of text
        """),
    ),
    "places": Described(
        "a contender on a problem, as the answer has it",
        _columns(
            CELL
            + """
            place | text | | best, tied (not told apart from the best), doubtful, worse, failed, incomplete, not run
            value* | number | of the metric | the judged metric at the end, median over studies or seeds
            """
        ),
    ),
    "sentences": Described(
        "a sentence of a verdict",
        _columns("""
        problem | text | | the problem's name
        number | integer | | 0 for the conclusion, then the notes
        kind | text | | of the verdict: winner, tie, unsettled, incomplete
        about | text | | methods, or the settings that one tuning found
        sentence | text | | as reports show it
        """),
    ),
    "results": Described(
        "a contender on a problem, best first, with all that is compared",
        _columns("""
        problem | text | | the problem's name
        rank | integer | | place on the problem, from 1
        optimizer | text | | the contender's label
        hits | number | trials | final trials that reached the hardest target
        seeds | integer | trials | final trials
        missed | number | trials | ended without reaching it
        diverged_before_target | number | trials | diverged without having reached it
        diverged_after_target | number | trials | reached it and diverged later
        cut_off | number | trials | ended by a time budget
        steps_to_target* | number | of the axis | median of what the target takes; inf: most miss it
        mean_to_budget* | number | of the axis | mean of the smaller one of that and the budget
        expected_running_time | number | of the axis | all that was spent, by hit
        ratio_of_steps* | number | | what the target takes, as a ratio to the best one's
        ratio_of_steps_p_value | number | | of that, over all pairs
        group | text | | contenders that share a letter are not told apart
        mean_rank | number | | over studies or seeds of the problem
        value* | number | of the metric | the judged metric at the end, median over studies or seeds
        validation* | number | of the metric | the same on validation, which selected
        difference* | number | of the metric, log10 of a ratio on a log scale | to the best one; above 0 is worse
        p_value | number | | of the difference, over all pairs
        new_examples* | number | as difference | the difference on new examples
        new_examples_p_value | number | | of that, over all pairs
        diverged | integer | trials | final trials that diverged
        tuning_points | integer | points | that a study tried
        studies | integer | studies | tunings
        widened | text | | what was added to the space
        seconds_per_step* | number | s | warm, one trial at a time
        seconds_to_target* | number | s | the same times the steps to the target
        flags | text | | what makes the tuning doubtful
        failure | text | | why it could not run
        """),
        has_hyperparameters=True,
    ),
    "evidence": Described(
        "a number behind a sentence",
        _columns("""
        problem | text | | the problem's name
        sentence | text | | the sentence
        name | text | | what the number is
        contender | text | | whose it is
        other | text | | what it is compared to
        estimate | number | of the metric; a ratio on a log scale and of steps | the number
        low | number | as estimate | lower end of its interval
        high | number | as estimate | upper end
        p_value | number | | of the paired test
        adjusted_p | number | | over all pairs
        blocks | integer | studies or seeds | it is from
        """),
    ),
    "overview": Described(
        "a contender over all problems, best first",
        _columns("""
        optimizer | text | | the contender's label
        problems | integer | problems | that it ran on
        mean_rank* | number | | over problems
        probability_best | number | | that its mean rank is the lowest
        profile_score* | number | | area under the performance profile
        targets_reached* | number | share | at the end of the budget
        target_area | number | share | mean of that along the budget
        others_there | number | share | that the others reach where it ran
        """),
    ),
    "costs": Described(
        "what a contender costs on a problem",
        _columns(
            CELL
            + """
            seconds_per_step* | number | s | warm, one trial at a time, median over repeats
            relative | number | | to the fastest
            seconds_to_target* | number | s | the same times the steps to the target
            evaluation_seconds | number | s | of an evaluation of metrics
            compile_seconds | number | s | of all its trials
            parameter_bytes | number | bytes | of the parameters
            optimizer_state_bytes | number | bytes | of the optimizer's state
            memory_bytes | number | bytes | of the compiled segment
            gradients_per_step | number | gradients | evaluated
            examples_per_step | number | examples | taken
            steps_saved | number | share | by early stopping
            failure | text | | why it could not be timed
            """
        ),
    ),
    "effects": Described(
        "what a level of a factor does on a problem",
        _columns("""
        problem | text | | the problem's name
        factor | text | | what contenders differ in
        level | text | | its level
        baseline | text | | the level it is compared to
        about | text | | methods, or the settings that one tuning found
        pairs | integer | pairs | of contenders that differ in nothing else
        agreeing | integer | pairs | with the difference's sign
        difference* | number | of the metric, log10 of a ratio on a log scale | above 0 is worse
        p_value | number | | adjusted
        claim | text | | main effect, interaction, crossing or nothing
        settled | boolean | | whether the claim does not rest on doubtful tuning
        doubtful | text | | contenders whose tuning is
        interaction_with | text | | the other factor it depends on most surely
        interaction_p_value | number | | adjusted
        ratio_of_steps* | number | | of what the target takes
        ratio_of_steps_p_value | number | | adjusted
        claim_of_steps | text | | as claim
        """),
    ),
    "tuning_leaders": Described(
        "a contender at a number of tuning points on a problem",
        _columns("""
        problem | text | | the problem's name
        points | integer | points | that are drawn
        optimizer | text | | the contender's label
        expected_best | number | of the metric, log10 on a log scale, negative where higher is better | in a study
        probability | number | | that its best is best, studies shifted to one median
        """),
    ),
    "sensitivity": Described(
        "the good range of a tuned hyperparameter",
        _columns(
            CELL
            + """
            hyperparameter | text | | its name
            points | integer | points | that were tried
            decades* | number | decades | the range's width
            low | number | | the smallest good value
            high | number | | the largest good value
            best | number | | the best value
            good | integer | points | within 5 % of the best
            open_low | boolean | | good down to the edge
            open_high | boolean | | good up to the edge
            """
        ),
    ),
    "parameter_groups": Described(
        "a leaf of the parameters, and the rule that trains it",
        _columns(
            CELL
            + """
            path | text | | of the leaf
            shape | text | | such as 64x10; scalar for a single number
            parameters | integer | numbers | in it
            role | text | | embedding, first, hidden, head, vector or other
            rule | text | | that trains it
            decayed | boolean | | whether its weights are decayed; missing where that is not known
            share | number | share | of the contender's parameters
            """
        ),
    ),
    "trials": Described(
        "a trial that ran",
        _columns(
            TRIAL
            + """
            status | text | | finished, stopped (early), diverged, cut off (its time was up) or failed
            outcome | text | | against the hardest target: reached, missed, diverged, cut off or failed
            outcome_step | number | steps | at which
            value | number | of the metric | with the final parameters: of tuning on validation, of final on test
            restored_at | integer | steps | whose parameters early stopping kept
            seconds | number | s | of training
            compile_seconds | number | s | of compilation
            gradient_evaluations | number | evaluations | of the loss with its gradient
            value_evaluations | number | evaluations | of the loss alone
            hvp_evaluations | number | evaluations | of products with the Hessian
            diverged_at | integer | steps | at which it was seen to diverge
            reason | text | | why it failed
            """
        ),
        has_hyperparameters=True,
    ),
    "curves": Described(
        "a metric of a trial at a step",
        (
            *_columns(
                TRIAL
                + """
                step | integer | steps | made so far
                metric | text | | of tuning trials on validation, of others on what judges; or training_loss
                """
            ),
            Column("value", "number", "of the metric", "NaN or inf where it was not finite", holds_nan=True),
        ),
    ),
}
UNTIL = Column("until", "integer", "evaluations", "that a rung of successive halving ended at; missing: ran to the end")
