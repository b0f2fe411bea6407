//! Backups of PostgreSQL are made with its own tools, as the error of `sessiond` says.

use sessiond_needs::needs;

use crate::harness::StoreKind;
use crate::harness::process::Home;

#[needs(postgres)]
#[tokio::test]
async fn a_backup_and_a_restore_name_the_tools_of_postgresql() {
    let home = Home::new(StoreKind::Postgres);
    for (command, tool) in [("backup", "pg_dump"), ("restore", "pg_restore")] {
        let refused = home.run(&[command, "backup.db"]).await.refused().unwrap();
        assert!(refused.contains(tool) && refused.contains("docs/operations.md"), "{refused}");
    }
    assert!(!home.dir.path().join("backup.db").exists() && home.database.is_untouched().await);
}
