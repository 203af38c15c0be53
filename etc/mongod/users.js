// BoltLink's user, and what it may do and no more, once: on the primary, mongosh -u admin -p … etc/mongod/users.js
// `boltlink doctor` looks at the members and at transactionLifetimeLimitSeconds. `boltlink backup` of what takes longer
// than the 5 minutes for which MongoDB keeps history raises that and puts it back: without setParameter such a backup
// fails and says so, and nothing else does.
const admin = db.getSiblingDB("admin");
admin.runCommand({
  "createRole": "boltlink",
  "privileges": [
    {"resource": {"cluster": true}, "actions": ["replSetGetStatus", "getParameter", "setParameter"]}
  ],
  "roles": [{"role": "readWrite", "db": "boltlink"}]
});
admin.runCommand({
  "createUser": "boltlink",
  "pwd": "change-me-boltlink",
  "roles": ["boltlink"]
});
