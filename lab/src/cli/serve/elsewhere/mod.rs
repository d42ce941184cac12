//! `cargo lab serve` for functions that run elsewhere: in the containers of `sam local`, or behind any other Lambda endpoint.

mod files;
mod intro;
mod names;
mod options;
mod reach;
mod stock;

pub(super) use options::Elsewhere;

use super::live::Live;
use super::plan::Plan;
use crate::Lab;
use crate::cli::screen::Screen;
use crate::cli::setup::{bind, setup};
use crate::cli::stop::Stop;
use crate::lambda::Follower;
use files::Files;
use names::resource;
use reach::Reach;
use serde_json::Map;
use stock::Stock;

/// Serves until interrupted.
pub(super) async fn serve(screen: &Screen, plan: &Plan) -> Result<(), Stop> {
    let mut reach = match plan.elsewhere.containers() {
        Some(address) => Reach::containers(address).await?,
        None => Reach::local(),
    };
    let lambda = plan.elsewhere.endpoint();
    let lab = start(plan, lambda).await?;
    let port = port_of(&lab.url());
    reach.open(port)?;
    screen.fact("aws", &format!("{}: Secrets Manager", lab.url()));
    screen.fact("lambda", &format!("{lambda}: not this lab's, called by RotateSecret"));
    screen.fact("reach", &reach.described());
    let mut stock = Stock::default();
    for kind in &plan.kinds {
        stock.add(screen, &lab, &mut reach, *kind, plan).await?;
    }
    let url = format!("http://{}:{port}", reach.host());
    let functions = plan.kinds.iter().map(|kind| (resource(*kind).to_owned(), stock.variables(*kind, &url).into()));
    let host = reach.address().map(|address| (reach.host(), address));
    let files = Files::write(port, &functions.collect::<Map<_, _>>(), host)
        .map_err(|error| Stop::Setup(format!("the variables of the functions could not be written: {error}")))?;
    let mut events = lab.watch_steps();
    intro::introduce(screen, &lab, &plan.kinds, &files);
    let mut live = Live::new(screen, None, Follower::new(lab.host().clone(), Vec::new()));
    loop {
        match events.recv().await {
            Ok(event) => live.show(event),
            // Too many to show in time: the next ones will do. It does not end while the lab lives.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// A lab whose functions are behind `lambda`.
async fn start(plan: &Plan, lambda: &str) -> Result<Lab, Stop> {
    let bound = bind(plan.port).await?;
    let mut functions = plan.packages().into_iter().map(|name| Lab::builder("").name(name).elsewhere(lambda));
    // The plan has at least one.
    let first = functions.next().ok_or_else(|| Stop::Usage("there is nothing to serve".to_owned()))?;
    let lab = first.start_on(bound).map_err(setup)?;
    functions.for_each(|function| drop(lab.deploy(function)));
    Ok(lab)
}

fn port_of(url: &str) -> u16 {
    url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
}
