"""Ways to speak, one file each: a manifest that names one of these needs no class of its own."""

from typing import Final

DELIVERIES: Final = {  # the name in a [deliver.NAME] -> the module with its writing side
    "fhir-rest": "gateway.connectors.http_delivery",
    "http-json": "gateway.connectors.http_delivery",
    "message-drop": "gateway.connectors.message_outbox",
    "sql": "gateway.connectors.sql_delivery",
}
CONNECTORS: Final = {  # the name in a manifest -> its module, imported when a source first needs it
    "fhir-rest": "gateway.connectors.fhir_rest",
    "http-json": "gateway.connectors.http_json",
    "graphql": "gateway.connectors.graphql",
    "hl7v2-drop": "gateway.connectors.hl7v2_drop",
    "sql": "gateway.connectors.sql",
    "csv-drop": "gateway.connectors.csv_drop",
    "xml-drop": "gateway.connectors.xml_drop",
    "returns-drop": "gateway.connectors.returns_drop",
    "message-drop": "gateway.connectors.message_drop",
}
