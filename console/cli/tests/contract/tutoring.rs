//! Searching tutors and booking them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::api::Api;
use crate::lab::{eventually, lab};

#[tokio::test]
async fn tutors_are_found_by_subject() {
    let api = Api::user().await;
    let answer = api.get("/search?subject=Math").await.expect(200);
    assert!(answer.body["cached"].is_boolean(), "{answer}");
    let tutors = answer.body["data"].as_array().unwrap();
    assert!(tutors.iter().any(|tutor| tutor["id"] == 1), "{answer}");
    for tutor in tutors {
        assert!(
            tutor["id"].is_u64() && tutor["name"].is_string() && tutor["rating"].is_number(),
            "{tutor}"
        );
        assert_eq!(tutor["subject"], "Math");
    }
    assert_eq!(
        answer.body["cached"] == true,
        answer.header("x-cache") == Some("HIT"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_unknown_subject_is_empty_and_a_missing_one_is_named() {
    let api = Api::user().await;
    let answer = api.get("/search?subject=Alchemy").await.expect(200);
    assert_eq!(answer.body["data"], json!([]), "{answer}");
    api.get("/search").await.names("subject");
    let long = api
        .get(&format!("/search?subject={}", "x".repeat(3000)))
        .await;
    assert!(matches!(long.status, 200 | 400 | 422), "{long}");
    for odd in ["%27%3B%20drop%20table", "%25", "%00", "ñandú"] {
        let answer = api.get(&format!("/search?subject={odd}")).await;
        assert!(matches!(answer.status, 200 | 422), "{odd}: {answer}");
    }
}

#[tokio::test]
async fn a_booking_is_made_read_and_notified() {
    let _calm = lab().calm().await;
    let (api, tutor) = (Api::user().await, lab().own_tutor());
    let answer = api
        .post(
            "/book",
            json!({"student_id": "1", "tutor_id": tutor.to_string()}),
        )
        .await
        .expect(200);
    assert_eq!(answer.text("status"), "success");
    assert_eq!(
        (answer.int("student_id"), answer.int("tutor_id")),
        (1, tutor.cast_signed())
    );
    assert!(answer.time("starts_at") < answer.time("ends_at"));
    let booking = answer.int("booking_id");
    let path = format!("/bookings/{booking}");
    let read = eventually(
        Duration::from_secs(30),
        "the notification is sent",
        || async {
            let read = api.get(&path).await.expect(200);
            let state = notification(&read.body);
            assert!(["pending", "sent"].contains(&state.as_str()), "{read}");
            (state == "sent").then_some(read)
        },
    )
    .await;
    assert_eq!(read.int("booking_id"), booking);
    assert_eq!(read.text("starts_at"), answer.text("starts_at"));
}

/// The state of the notification, by itself or within an object.
fn notification(booking: &Value) -> String {
    let found = &booking["notification"];
    found
        .as_str()
        .or_else(|| found["state"].as_str())
        .unwrap_or_else(|| panic!("no notification: {booking}"))
        .to_owned()
}

#[tokio::test]
async fn sessions_of_a_tutor_do_not_overlap() {
    let (api, tutor) = (Api::user().await, lab().own_tutor());
    let book = |starts_at: &str, minutes: u32| json!({"student_id": 2, "tutor_id": tutor, "starts_at": starts_at, "minutes": minutes});
    api.post("/book", book("2040-03-01T10:00:00Z", 60))
        .await
        .expect(200);
    for (starts_at, minutes) in [
        ("2040-03-01T10:00:00Z", 60),
        ("2040-03-01T09:30:00Z", 60),
        ("2040-03-01T10:59:00Z", 30),
        ("2040-03-01T09:00:00Z", 240),
        ("2040-03-01T05:15:00-05:00", 30),
    ] {
        api.post("/book", book(starts_at, minutes))
            .await
            .problem(409);
    }
    api.post("/book", book("2040-03-01T11:00:00Z", 60))
        .await
        .expect(200);
    api.post("/book", book("2040-03-01T09:00:00Z", 60))
        .await
        .expect(200);
}

#[tokio::test]
async fn many_at_once_take_one_free_slot_each() {
    let (api, tutor) = (Api::user().await, lab().own_tutor());
    let body = json!({"student_id": 1, "tutor_id": tutor});
    let answers = join_all((0..12).map(|_| api.post("/book", body.clone()))).await;
    let slots: BTreeSet<_> = answers
        .into_iter()
        .map(|answer| answer.expect(200).text("starts_at").to_owned())
        .collect();
    assert_eq!(slots.len(), 12);
}

#[tokio::test]
async fn many_at_once_for_one_time_leave_one_winner() {
    let (api, tutor) = (Api::user().await, lab().own_tutor());
    let body = json!({"student_id": 1, "tutor_id": tutor, "starts_at": "2041-01-01T08:00:00Z"});
    let answers = join_all((0..12).map(|_| api.post("/book", body.clone()))).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 200).count(),
        1
    );
    assert!(
        answers
            .into_iter()
            .all(|answer| matches!(answer.status, 200 | 409))
    );
}

#[tokio::test]
async fn unknown_ids_and_wrong_values() {
    let api = Api::user().await;
    api.post("/book", json!({"student_id": 999_999_999, "tutor_id": 1}))
        .await
        .problem(404);
    api.post("/book", json!({"student_id": 1, "tutor_id": 999_999_999}))
        .await
        .problem(404);
    api.get("/bookings/999999999").await.problem(404);
    let odd = api.get("/bookings/x").await;
    assert!(matches!(odd.status, 404 | 422), "{odd}");
    for (body, field) in [
        (json!({"tutor_id": 1}), "student_id"),
        (json!({"student_id": 1}), "tutor_id"),
        (json!({"student_id": "one", "tutor_id": 1}), "student_id"),
        (json!({"student_id": 1, "tutor_id": []}), "tutor_id"),
        (
            json!({"student_id": 1, "tutor_id": 1, "starts_at": "tomorrow"}),
            "starts_at",
        ),
        (
            json!({"student_id": 1, "tutor_id": 1, "starts_at": 5}),
            "starts_at",
        ),
        (
            json!({"student_id": 1, "tutor_id": 1, "minutes": 0}),
            "minutes",
        ),
        (
            json!({"student_id": 1, "tutor_id": 1, "minutes": 100_000}),
            "minutes",
        ),
        (
            json!({"student_id": 1, "tutor_id": 1, "minutes": "long"}),
            "minutes",
        ),
    ] {
        api.post("/book", body).await.names(field);
    }
    api.post_raw("/book", "application/json", "{")
        .await
        .problem(400);
    api.post_raw("/book", "application/json", vec![b' '; 1_200_000])
        .await
        .problem(413);
}
