// Makes three members a set and its administrator, once: on the first machine, mongosh etc/mongod/set.js
// Elections begin after 2 s of silence, not MongoDB's 10: links that no cache knows wait for them.
const admin = db.getSiblingDB("admin");
admin.runCommand({
  "replSetInitiate": {
    "_id": "rs0",
    "members": [
      {"_id": 0, "host": "mongo-1:27017"},
      {"_id": 1, "host": "mongo-2:27017"},
      {"_id": 2, "host": "mongo-3:27017"}
    ],
    "settings": {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}
  }
});
while (!db.hello().isWritablePrimary) sleep(100);
admin.runCommand({
  "createUser": "admin",
  "pwd": "change-me-admin",
  "roles": ["root"]
});
