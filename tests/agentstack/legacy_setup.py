"""Databases as the earlier agent-stack left them, and servers to bring them into."""

import sqlite3
from contextlib import closing
from pathlib import Path

import bcrypt
import httpx

from tests.agentstack.serving import stored
from tests.conftest import FAST_DEMO
from tests.harness.server import Server

BACKEND = {**FAST_DEMO, "user_overridable_env": ["LLM_API_KEY", "OTHER_KEY"]}
BORN = 1_700_000_000
ROOT, BOB, CAROL = (
    ("root@example.org", "the root's password"),
    ("bob@example.org", "bob's"),
    ("carol@example.org", "c's"),
)
TABLES = """
CREATE TABLE users(id, email, name, slug, pw_hash, role, created_at);
CREATE TABLE user_backend_prefs(user_id, backend, idle_seconds);
CREATE TABLE user_env_overrides(user_id, backend_name, env_var, value, updated_at);
CREATE TABLE admin_shared_env(env_var, shared, updated_at);
CREATE TABLE agents(id, user_id, backend, name, model, ordinal, created_at, updated_at);
CREATE TABLE runners(agent_id, user_id, backend, container_name, host_port, api_key, started_at, last_active);
CREATE TABLE conversations(id, user_id, backend, model, title, agent_id, created_at, updated_at);
CREATE TABLE messages(id, conversation_id, role, content, created_at);
CREATE TABLE rooms(id);
"""
MESSAGES = [
    ("m9", "user", "Asked first", BORN + 160),
    ("m1", "assistant", "Answered second", BORN + 160),
    ("m5", "user", "Asked third", BORN + 170),
    ("m2", "error", "It broke", BORN + 180.5),
    ("m3", "system", "Be brief", BORN + 190),
]


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def legacy_database(path: Path, *statements: str) -> Path:
    """Make a database as the earlier agent-stack left it, then run statements in it that change it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as c, c:
        c.executescript(TABLES)
        users = [
            ("1", ROOT[0], "Root", "root", hashed(ROOT[1]), "admin", BORN),
            ("2", "Bob@Example.org", "Bob B.", "bob-a2", hashed(BOB[1]), "user", BORN + 100),
            ("3", CAROL[0], None, "carol", hashed(CAROL[1]), "user", BORN + 120),
        ]
        c.executemany("INSERT INTO users VALUES(?,?,?,?,?,?,?)", users)
        c.execute("INSERT INTO user_backend_prefs VALUES('2', 'demo', 300)")
        keys = [
            ("2", "", "LLM_API_KEY", "sk-bobs-own-key-4321", BORN + 200),
            ("2", "demo", "OTHER_KEY", "other-value-of-bob-9876", BORN + 210),
            ("1", "", "LLM_API_KEY", "sk-shared-by-root-5555", BORN + 20),
        ]
        c.executemany("INSERT INTO user_env_overrides VALUES(?,?,?,?,?)", keys)
        c.execute("INSERT INTO admin_shared_env VALUES('LLM_API_KEY', 1, ?)", (BORN + 50,))
        agent = ("ag1", "2", "demo", "Bob's demo", "", 1, BORN + 150, BORN + 155)
        c.execute("INSERT INTO agents VALUES(?,?,?,?,?,?,?,?)", agent)
        c.execute("INSERT INTO runners VALUES('ag1', '2', 'demo', 'demo-bob', 1, 'k', 1, 1)")
        talk = ("c1", "2", "demo", "", "Old talk", "ag1", BORN + 160, BORN + 300)
        c.execute("INSERT INTO conversations VALUES(?,?,?,?,?,?,?,?)", talk)
        c.executemany("INSERT INTO messages VALUES(?,'c1',?,?,?)", MESSAGES)
        c.execute("INSERT INTO rooms VALUES(1)")
        for statement in statements:
            c.execute(statement)
    return path


def new_server(folder: Path) -> Server:
    """Return a server whose admin comes with what is imported."""
    server = Server(folder, backends=[BACKEND])
    for name in ("BOOTSTRAP_ADMIN_EMAIL", "BOOTSTRAP_ADMIN_PASSWORD"):
        del server.env[name]
    return server


def login(server: Server, who: tuple[str, str]) -> httpx.Client:
    client = server.client()
    answer = client.post("/auth/login", json={"email": who[0], "password": who[1]})
    assert answer.is_success, answer.text
    return client


def topics(server: Server) -> list[str]:
    return [e.topic for e in stored(server.data)]


def is_empty(server: Server) -> bool:
    """Tell whether nothing is in the log, and nobody has a key in the vault."""
    with closing(sqlite3.connect(server.data / "vault.db")) as c:
        tables = [
            r[0] for r in c.execute("SELECT name FROM sqlite_master WHERE type='table' AND name LIKE '%keys%'")
        ]
        keys = sum(c.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in tables)
    return stored(server.data) == [] and keys == 0
