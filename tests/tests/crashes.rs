//! probe
use cosell_tests::world::{Sharing, World, Setup};
use serde_json::json;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn probe() {
    for kind in 0..2 {
        let t = Instant::now();
        let world = World::start_with(Setup { workers: 1, ..Setup::default() }).await.unwrap();
        println!("start {:?}", t.elapsed());
        let mark = world.switchboard.mark();
        if kind == 0 { world.portal_creates(&json!({})); } else { world.seller_enters(&Sharing::default()); }
        let t = Instant::now();
        world.settle().await;
        println!("settle {:?}", t.elapsed());
        for e in world.switchboard.since(mark) {
            println!("{:3} {} {} {} {} ua={:?} -> {:?}", e.number - mark, e.api, e.method, e.target.chars().take(120).collect::<String>(), e.headers.get("x-amz-target").map_or("", |v| v.to_str().unwrap()), e.headers.get("user-agent").map(|v| v.to_str().unwrap().chars().take(30).collect::<String>()), e.status);
            if e.api == "aws" { println!("      {}", String::from_utf8_lossy(&e.body).chars().take(160).collect::<String>()); }
        }
        let t = Instant::now();
        world.close().await;
        println!("close {:?}", t.elapsed());
    }
}
