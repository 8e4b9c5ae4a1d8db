"""Comparison of what was sent with what the far store holds: each copy, each octet, each parameter."""
from .store import without_trace


def expected_copies(messages):
    return {(message.id, address): 1 for message in messages for address, _ in message.recipients}


def copies(store, messages):
    """How many arrived besides the first of each; none may be missing or strange."""
    missing, strange, doubled = differences(store, messages)
    assert not missing and not strange, (missing, strange)
    return sum(count - 1 for count in doubled.values())


def differences(store, messages):
    """({what is missing}, {what came that never was sent}, {what came more than once: how often})"""
    expected, arrived = expected_copies(messages), store.copies()
    missing = {copy for copy in expected if copy not in arrived}
    strange = {copy for copy in arrived if copy not in expected}
    doubled = {copy: count for copy, count in arrived.items() if copy in expected and count > 1}
    return missing, strange, doubled


def _params(text):
    return dict(word.partition("=")[::2] for word in text.split())


def _xtext(text):
    """RFC 3461, section 4."""
    return "".join(chr(octet) if 33 <= octet <= 126 and octet not in b"+=" else f"+{octet:02X}" for octet in text.encode())


def content_faults(transaction, message, hops):
    faults = []
    if without_trace(transaction.header, hops) != message.header():
        faults.append(f"header differs: {transaction.header!r}")
    if (transaction.body_length, transaction.body_digest) != (len(message.body()), message.digest()):
        faults.append(f"body differs: {transaction.body_length} octets, sent {len(message.body())}")
    return faults


def envelope_faults(transaction, message):
    """Sender and parameters; which recipients came is differences()' part."""
    faults = []
    sender, params = transaction.sender
    sent = _params(message.params)
    if sender != message.sender:
        faults.append(f"sender {sender}, sent {message.sender}")
    for name in ("RET", "ENVID", "SMTPUTF8"):
        if params.get(name) != sent.get(name):
            faults.append(f"{name} is {params.get(name)}, sent {sent.get(name)}")
    by_address = dict(message.recipients)
    for address, params in transaction.recipients:
        sent = _params(by_address.get(address, ""))
        if params.get("NOTIFY") != sent.get("NOTIFY"):
            faults.append(f"NOTIFY of {address} is {params.get('NOTIFY')}, sent {sent.get('NOTIFY')}")
        # Postfix gives a recipient without ORCPT one that names it.
        if params.get("ORCPT") != sent.get("ORCPT", f"rfc822;{_xtext(address)}"):
            faults.append(f"ORCPT of {address} is {params.get('ORCPT')}, sent {sent.get('ORCPT')}")
    return faults


def faults(store, messages, hops=2, envelope=True):
    """What is wrong with all that arrived: a list of sentences, empty when all is exact."""
    by_id = {message.id: message for message in messages}
    found = []
    for transaction in store.transactions:
        message = by_id.get(transaction.id)
        if message:
            texts = content_faults(transaction, message, hops)
            texts += envelope_faults(transaction, message) if envelope else []
            found += [f"{message.id}: {text}" for text in texts]
    return found
