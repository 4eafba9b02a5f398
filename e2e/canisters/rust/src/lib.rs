//! What echo.mo does, with the official CDK: sends every application message back to its sender. An upgrade forgets
//! clients, queues and numbers, because the CDK does.

use std::cell::{Cell, RefCell};

use candid::{CandidType, Deserialize, Principal};
use ic_cdk::{init, post_upgrade, query, update};
use ic_websocket_cdk::{
    CanisterWsCloseArguments, CanisterWsCloseResult, CanisterWsGetMessagesArguments, CanisterWsGetMessagesResult,
    CanisterWsMessageArguments, CanisterWsMessageResult, CanisterWsOpenArguments, CanisterWsOpenResult,
    OnMessageCallbackArgs, WsHandlers, WsInitParams,
};

#[derive(CandidType, Deserialize)]
struct AppMessage {
    text: String,
}

/// A method of the CDK's.
#[derive(CandidType, Deserialize, Clone, Copy, PartialEq)]
#[allow(non_camel_case_types)]
enum Method {
    open,
    message,
    poll,
}

#[derive(CandidType, Deserialize, Clone)]
struct Note {
    connection: u64,
    number: candid::Nat,
}

#[derive(CandidType, Deserialize)]
enum Told {
    Note(Note),
    Tell(Note),
    Noted(Note),
}

#[derive(CandidType, Clone)]
struct Entry {
    what: String,
    client: Option<Principal>,
    connection: u64,
    number: candid::Nat,
}

/// Entries of a page.
const PAGE: usize = 5_000;

thread_local! {
    static BROKEN: Cell<Option<Method>> = const { Cell::new(None) };
    static IS_WRITING: Cell<bool> = const { Cell::new(false) };
    static ENTRIES: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

#[init]
fn init() {
    ic_websocket_cdk::init(WsInitParams::new(WsHandlers {
        on_open: None,
        on_message: Some(on_message),
        on_close: None,
    }));
}

#[post_upgrade]
fn post_upgrade() {
    init();
}

fn on_message(args: OnMessageCallbackArgs) {
    if !is_told(args.client_principal, &args.message) {
        if let Err(problem) = ic_websocket_cdk::send(args.client_principal, args.message) {
            ic_cdk::trap(&problem);
        }
    }
}

/// Writes a note down; whether that is all.
fn is_told(client: Principal, message: &[u8]) -> bool {
    if !IS_WRITING.get() {
        return false;
    }
    let (what, note) = match candid::decode_one(message) {
        Ok(Told::Tell(note)) => ("tell", note),
        Ok(Told::Note(note)) => ("note", note),
        _ => return false,
    };
    ENTRIES.with_borrow_mut(|entries| {
        entries.push(Entry {
            what: what.to_string(),
            client: Some(client),
            connection: note.connection,
            number: note.number,
        });
    });
    what == "tell"
}

/// From now on notes are written down, as by the diary, and those that only tell are not sent back.
#[update(name = "writeDown")]
fn write_down() {
    IS_WRITING.set(true);
}

/// What is written down.
#[query(name = "entriesFrom")]
fn entries_from(from: candid::Nat) -> Vec<Entry> {
    let from = usize::try_from(from.0).unwrap_or(usize::MAX);
    ENTRIES.with_borrow(|entries| entries.iter().skip(from).take(PAGE).cloned().collect())
}

/// Makes a method trap from now on, or none.
#[update(name = "setBroken")]
fn set_broken(method: Option<Method>) {
    BROKEN.set(method);
}

fn check(method: Method) {
    if BROKEN.get() == Some(method) {
        ic_cdk::trap("broken on purpose");
    }
}

#[update]
fn ws_open(args: CanisterWsOpenArguments) -> CanisterWsOpenResult {
    check(Method::open);
    ic_websocket_cdk::ws_open(args)
}

#[update]
fn ws_close(args: CanisterWsCloseArguments) -> CanisterWsCloseResult {
    ic_websocket_cdk::ws_close(args)
}

#[update]
fn ws_message(args: CanisterWsMessageArguments, message: Option<AppMessage>) -> CanisterWsMessageResult {
    check(Method::message);
    ic_websocket_cdk::ws_message(args, message)
}

#[query]
fn ws_get_messages(args: CanisterWsGetMessagesArguments) -> CanisterWsGetMessagesResult {
    check(Method::poll);
    ic_websocket_cdk::ws_get_messages(args)
}
