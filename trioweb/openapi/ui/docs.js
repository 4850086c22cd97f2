// Shows the description of the API whose address stands in the page.
const address = document.body.dataset.openapi;

// Swagger UI shows no itemSchema yet: let it show one item of a stream, and say so.
function withItems(description) {
  for (const item of Object.values(description.paths))
    for (const operation of [...Object.values(item), ...Object.values(item.additionalOperations ?? {})])
      for (const response of Object.values(operation.responses ?? {}))
        for (const content of Object.values(response.content ?? {}))
          if (content.itemSchema) {
            content.schema = content.itemSchema;
            response.description = response.description.replace(/\.?$/, ". A stream, whose items are:");
          }
  return description;
}

fetch(address)
  .then((response) => response.json())
  .then((description) => {
    window.ui = SwaggerUIBundle({
      spec: withItems(description),
      dom_id: "#docs",
      deepLinking: true,
      validatorUrl: null, // which would be another host
      docExpansion: "list",
      defaultModelsExpandDepth: 0,
    });
  })
  .catch((error) => {
    document.getElementById("docs").textContent = `The description of the API cannot be read: ${error}`;
  });
