import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import ca.uhn.fhir.validation.ValidationOptions;
import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.Stream;
import org.hl7.fhir.common.hapi.validation.support.CachingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.r4.model.CodeSystem;
import org.hl7.fhir.r4.model.StructureDefinition;
import org.hl7.fhir.r4.model.ValueSet;

/** Lines {"name", "resource"} -> lines {"name", "severity", "where", "said"}. One argument: the folder of UK Core definitions, or none. */
public class Validate {
    private static final boolean ONE_CODING_IS_ENOUGH = true; // R4, "Binding strengths": one coding from the value set; HAPI asks it of all
    private static final String UK_CORE = "https://fhir.hl7.org.uk/StructureDefinition/UKCore-";

    public static void main(String[] arguments) throws Exception {
        FhirContext context = FhirContext.forR4();
        PrePopulatedValidationSupport ours = new PrePopulatedValidationSupport(context);
        Set<String> profiles = new HashSet<>();
        if (arguments.length > 0) load(context, ours, profiles, Path.of(arguments[0]));
        UnknownCodeSystemWarningValidationSupport unknown = new UnknownCodeSystemWarningValidationSupport(context);
        unknown.setNonExistentCodeSystemSeverity(ca.uhn.fhir.context.support.IValidationSupport.IssueSeverity.INFORMATION);
        ValidationSupportChain chain = new ValidationSupportChain(
            new DefaultProfileValidationSupport(context),
            ours,
            new CommonCodeSystemsTerminologyService(context),
            new InMemoryTerminologyServerValidationSupport(context),
            new SnapshotGeneratingValidationSupport(context),
            unknown);
        FhirInstanceValidator instance = new FhirInstanceValidator(new CachingValidationSupport(chain, ONE_CODING_IS_ENOUGH));
        instance.setAnyExtensionsAllowed(true);
        FhirValidator validator = context.newValidator().registerValidatorModule(instance);

        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        Gson gson = new Gson();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonObject one = JsonParser.parseString(line).getAsJsonObject();
            JsonObject resource = one.getAsJsonObject("resource");
            ValidationOptions options = new ValidationOptions();
            String profile = UK_CORE + resource.get("resourceType").getAsString();
            if (profiles.contains(profile)) options.addProfile(profile);
            for (SingleValidationMessage said : validator.validateWithResult(resource.toString(), options).getMessages()) {
                if (said.getSeverity().ordinal() < ResultSeverityEnum.WARNING.ordinal()) continue;
                JsonObject answer = new JsonObject();
                answer.add("name", one.get("name"));
                answer.addProperty("severity", said.getSeverity().getCode());
                answer.addProperty("where", said.getLocationString());
                answer.addProperty("said", said.getMessage());
                out.println(gson.toJson(answer));
            }
        }
        out.flush();
    }

    /** Every definition of the folder; a file that is no such resource is passed over. */
    private static void load(FhirContext context, PrePopulatedValidationSupport ours, Set<String> profiles, Path folder) throws Exception {
        for (String kind : new String[] {"structuredefinitions", "valuesets", "codesystems"}) {
            if (!Files.isDirectory(folder.resolve(kind))) continue;
            try (Stream<Path> files = Files.list(folder.resolve(kind)).sorted()) {
                for (Path file : (Iterable<Path>) files::iterator) {
                    String text = Files.readString(file);
                    if (text.startsWith("\uFEFF")) text = text.substring(1);
                    IBaseResource read = file.toString().endsWith(".json")
                        ? context.newJsonParser().parseResource(text)
                        : context.newXmlParser().parseResource(text);
                    if (read instanceof StructureDefinition) {
                        ours.addStructureDefinition(read);
                        profiles.add(((StructureDefinition) read).getUrl());
                    } else if (read instanceof ValueSet) {
                        ours.addValueSet(read);
                    } else if (read instanceof CodeSystem) {
                        ours.addCodeSystem(read);
                    }
                }
            }
        }
    }
}
