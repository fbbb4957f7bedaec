"""Examples that are the same, or made from one another, are one cluster."""

from hypothesis import given
from hypothesis import strategies as st

from eval.clusters import joined_clusters


def test_examples_with_one_text_are_in_one_cluster_whatever_pairs_they_stand_in():
    labels = ["dev.1", "dev.1", "dev.2", "test.1", "test.1", "test.2"]
    texts = ["a", "b", "c", "b", "d", "e"]
    assert joined_clusters(labels, texts) == ["dev.1", "dev.1", "dev.2", "dev.1", "dev.1", "test.2"]


def test_clusters_are_joined_along_a_chain():
    assert joined_clusters([0, 1, 1, 2], ["a", "a", "b", "b"]) == [0, 0, 0, 0]


def test_case_and_spacing_make_no_other_text():
    assert joined_clusters([0, 1, 2], ["The farmer sang.", " the  farmer sang.", "The farmer sang"]) == [0, 0, 2]


@given(st.lists(st.tuples(st.integers(0, 5), st.text("abc", max_size=1)), min_size=1, max_size=20))
def test_two_examples_share_a_cluster_where_steps_of_one_label_or_one_text_lead_from_one_to_the_other(examples):
    labels, texts = zip(*examples, strict=True)
    reached = {0}
    while True:
        grown = {
            j
            for i in reached
            for j in range(len(examples))
            if labels[i] == labels[j] or texts[i].casefold() == texts[j].casefold()
        }
        if grown == reached:
            break
        reached = grown
    joined = joined_clusters(labels, texts)
    assert {i for i, label in enumerate(joined) if label == joined[0]} == reached
