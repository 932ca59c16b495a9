//! The FastAPI interface to the byte.

use super::{demand, records, some};
use crate::http::JSON;
use crate::{Gateway, kafka};
use anyhow::Result;

const PIN: &str = "{\"category\": \"diy-and-crafts\", \"index\": 3089, \"unique_id\": \"88f9227e\", \
    \"title\": \"caf\\u00e9 \\ud83d\\ude00\", \"description\": \"d\", \"follower_count\": \"User Info Error\", \
    \"tag_list\": \"N,o\", \"is_image_or_video\": \"image\", \"image_src\": \"i\", \"downloaded\": 0, \"save_location\": \"s\"}";
const PIN_ECHO: &str = "{\"category\":\"diy-and-crafts\",\"index\":3089,\"unique_id\":\"88f9227e\",\
    \"title\":\"café 😀\",\"description\":\"d\",\"follower_count\":\"User Info Error\",\
    \"tag_list\":\"N,o\",\"is_image_or_video\":\"image\",\"image_src\":\"i\",\"downloaded\":0,\"save_location\":\"s\"}";

#[test]
fn fastapi_echoes_the_item_and_lists_what_is_wrong() -> Result<()> {
    let kafka = kafka()?;
    for kind in ["pin", "geo", "user"] {
        kafka.create_topic(&format!("fast.{kind}"), 1, &[])?;
    }
    let gateway = Gateway::start(kafka, &["--topics", "pin=fast.pin,geo=fast.geo,user=fast.user"])?;
    for path in ["/pin/", "/pin", "/stage/pin/"] {
        demand(
            &gateway.ask(&format!("POST {path}"), &[JSON], PIN)?,
            200,
            "application/json",
            PIN_ECHO,
            &[],
        );
    }
    // without a type the body is JSON too, as for FastAPI
    let geo =
        r#"{"ind": 7, "timestamp": "2020-08-28T03:52:47", "latitude": -89.9787, "longitude": -173, "country": null}"#;
    let echo = r#"{"ind":7,"timestamp":"2020-08-28T03:52:47","latitude":-89.9787,"longitude":-173.0,"country":null}"#;
    demand(
        &gateway.ask("POST /geo/", &[], geo)?,
        200,
        "application/json",
        echo,
        &[],
    );
    let user = r#"{"ind":"12","first_name":"A","last_name":"B","age":20,"date_joined":"2015-10-24 11:23:51","x":1}"#;
    let echo = r#"{"ind":12,"first_name":"A","last_name":"B","age":20,"date_joined":"2015-10-24 11:23:51"}"#;
    demand(
        &gateway.ask("POST /user", &[JSON], user)?,
        200,
        "application/json",
        echo,
        &[],
    );
    assert_eq!(records("fast.pin", 0)?, vec![some("3089", PIN); 3]);
    assert_eq!(records("fast.geo", 0)?, [some("7", geo)]);
    assert_eq!(records("fast.user", 0)?, [some("12", user)]);

    let wrong = |body: &str, detail: &str| -> Result<()> {
        let expected = format!("{{\"detail\":[{detail}]}}");
        demand(
            &gateway.ask("POST /user/", &[JSON], body)?,
            422,
            "application/json",
            &expected,
            &[],
        );
        Ok(())
    };
    wrong(
        r#"{"age": "x"}"#,
        concat!(
            r#"{"type":"missing","loc":["body","ind"],"msg":"Field required","input":{"age": "x"}},"#,
            r#"{"type":"int_parsing","loc":["body","age"],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"}"#
        ),
    )?;
    wrong(
        "",
        r#"{"type":"missing","loc":["body"],"msg":"Field required","input":null}"#,
    )?;
    wrong(
        "{",
        r#"{"type":"json_invalid","loc":["body",1],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting property name enclosed in double quotes"}}"#,
    )?;
    wrong(
        "[1]",
        r#"{"type":"model_attributes_type","loc":["body"],"msg":"Input should be a valid dictionary or object to extract fields from","input":[1]}"#,
    )?;
    let detail = |text: &str| format!("{{\"detail\":\"{text}\"}}");
    let answer = gateway.ask("GET /pin/", &[], "")?;
    demand(
        &answer,
        405,
        "application/json",
        &detail("Method Not Allowed"),
        &["allow"],
    );
    assert_eq!(answer.header("allow"), "POST");
    demand(
        &gateway.ask("POST /nothing", &[JSON], "{}")?,
        404,
        "application/json",
        &detail("Not Found"),
        &[],
    );
    assert_eq!(records("fast.user", 0)?.len(), 1, "what was refused is not in Kafka");
    gateway.end()?;
    Ok(())
}
