//! The PostgreSQL that suites run on is a real one that keeps what it acknowledged, and each test has a database alone.

use anyhow::Result;
use testkit::database;

#[tokio::test]
async fn the_server_keeps_what_it_acknowledged() -> Result<()> {
    let database = database::create().await?;
    for (setting, expected) in
        [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")]
    {
        let row: (String,) = sqlx::query_as("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&database.pool)
            .await?;
        assert_eq!(row.0, expected, "{setting}");
    }
    database.drop_now().await
}

#[tokio::test]
async fn databases_are_apart() -> Result<()> {
    let (one, two) = (database::create().await?, database::create().await?);
    sqlx::query("CREATE TABLE mine (id integer)").execute(&one.pool).await?;
    let seen: (i64,) = sqlx::query_as("SELECT count(*) FROM pg_tables WHERE tablename = 'mine'")
        .fetch_one(&two.pool)
        .await?;
    assert_eq!(seen.0, 0, "{} sees a table of {}", two.name, one.name);
    one.drop_now().await?;
    two.drop_now().await
}
